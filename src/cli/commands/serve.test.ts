import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { jsonLines, runHere } from '../testing/run-here.ts'

let directory: string
let listeners: ReadonlySet<unknown>
beforeEach(async () => {
  listeners = new Set([...process.listeners('SIGTERM'), ...process.listeners('SIGINT')])
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-serve-here-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    for (const one of added(signal)) process.off(signal, one)
  await rm(directory, { recursive: true, force: true })
})

/** The listeners of a signal that `serve` has added; it leaves them to the end of its process. */
const added = (signal: NodeJS.Signals): NodeJS.SignalsListener[] =>
  process.rawListeners(signal).filter((one) => !listeners.has(one)) as NodeJS.SignalsListener[]

const words = [
  'serve',
  '--storage=memory',
  '--grpc-port=0',
  '--http-port=0',
  '--websocket-port=0',
  '--tcp-port=0',
  '--set=shutdown.drainMs=0',
]

describe('serve', () => {
  it('serves until it is asked to stop, drains, and exits 0', async () => {
    const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as typeof process.exit)
    // The listener alone is called: the signal would end the runner of the tests too.
    const running = runHere(words, { cwd: directory })
    await expect.poll(() => added('SIGTERM').length).toBe(1)
    added('SIGTERM')[0]('SIGTERM')
    const { stderr } = await running
    const told = jsonLines<{ message: string }>(Buffer.from(stderr)).map(({ message }) => message)
    expect(told).toEqual(expect.arrayContaining(['stopping', 'stopped']))
    expect(exit.mock.calls).toEqual([[0]])
  })

  it('refuses a port that is taken', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as AddressInfo
    const { code, stderr } = await runHere([...words, `--grpc-port=${port}`], { cwd: directory })
    taken.close()
    expect([code, stderr]).toEqual([78, expect.stringContaining('RTK_ADDRESS_IN_USE')])
  })

  it('refuses an address beyond loopback without authentication', async () => {
    const { code, stderr } = await runHere([...words, '--host', '0.0.0.0'], { cwd: directory })
    expect([code, stderr]).toEqual([78, expect.stringContaining('RTK_INSECURE_BIND')])
  })
})

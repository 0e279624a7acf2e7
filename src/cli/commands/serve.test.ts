import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { jsonLines, runHere } from '../testing/run-here.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-serve-here-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(directory, { recursive: true, force: true })
})

const words = [
  'serve',
  '--storage=memory',
  '--grpc-port=0',
  '--http-port=0',
  '--websocket-port=0',
  '--set=shutdown.drainMs=0',
]

describe('serve', () => {
  it('serves until it is asked to stop, drains, and exits 0', async () => {
    const exit = vi.spyOn(process, 'exit').mockImplementation((() => undefined) as typeof process.exit)
    const before = process.listeners('SIGTERM')
    const added = () => process.listeners('SIGTERM').filter((one) => !before.includes(one))
    // The listener alone is called: the signal would end the runner of the tests too.
    const running = runHere(words, { cwd: directory })
    await expect.poll(() => added().length).toBe(1)
    added()[0]('SIGTERM')
    const { stderr } = await running
    const told = jsonLines<{ message: string }>(Buffer.from(stderr)).map(({ message }) => message)
    expect(told).toEqual(expect.arrayContaining(['stopping', 'stopped']))
    expect(exit.mock.calls).toEqual([[0]])
    process.off('SIGINT', added()[0])
    process.off('SIGTERM', added()[0])
  })
})

/** `serve` where it cannot serve: a directory that is in use, and a start that never ends. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'ratatoskr/client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCommand } from '../../contract-tests/batteries/harness/run-command.ts'
import { ServerProcess } from '../../contract-tests/batteries/harness/server-process.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-stuck-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

/** Everything below a directory: contents, sizes and times of change. */
async function snapshot(path: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    const { mtimeNs, ctimeNs, size, ino } = await stat(file, { bigint: true })
    const hash = entry.isFile()
      ? createHash('sha256')
          .update(await readFile(file))
          .digest('hex')
      : 'directory'
    found[file] = [hash, size, ino, mtimeNs, ctimeNs].map(String)
  }
  const { mtimeNs, ctimeNs } = await stat(path, { bigint: true })
  return { ...found, [path]: [mtimeNs, ctimeNs].map(String) }
}

describe('serve', () => {
  it('on a directory that another process holds exits naming it, and has touched no file', async () => {
    await using server = await ServerProcess.start({ directory })
    await using client = await connect(server.urls.ws)
    await client.createTopic('orders')
    await client.publish('orders', 'x', { durability: 'fsync' })
    const before = await snapshot(directory)
    const ports = ['--grpc-port', '0', '--http-port', '0', '--websocket-port', '0', '--tcp-port', '0']
    const second = await runCommand(['serve', '--directory', directory, ...ports])
    expect([second.code, second.stderr]).toEqual([6, expect.stringContaining(`process ${server.child.pid}`)])
    expect(await snapshot(directory)).toEqual(before)
    // The holder goes on.
    expect((await client.publish('orders', 'y')).offset).toBe(1)
  })
})

// A named pipe that nobody writes to holds whoever opens it, and a thread of the pool with him.
describe.runIf(process.platform === 'linux')('a start that hangs', () => {
  const hang = async (stopTimeoutMs = 400): Promise<ServerProcess> => {
    const data = join(directory, 'data')
    await mkdir(data)
    const pipe = join(directory, 'pipe')
    expect(spawnSync('sh', ['-c', 'mkfifo "$0"', pipe]).status).toBe(0)
    const config = join(directory, 'stuck.config.js')
    await writeFile(
      config,
      `import { open } from 'node:fs/promises'
      export default { plugins: [{ name: 'stuck', setup: () => open(${JSON.stringify(pipe)}) }] }`,
    )
    const args = ['--config', config, '--set', `limits.stopTimeoutMs=${stopTimeoutMs}`]
    const server = ServerProcess.spawn({ directory: data, args })
    server.ready.catch(() => undefined)
    // The directory is claimed before plugins are set up.
    await expect.poll(() => readdir(data), { timeout: 20_000 }).toContain('ratatoskr.lock')
    return server
  }

  it('ends some time after SIGTERM, and says why', async () => {
    await using server = await hang()
    server.child.kill('SIGTERM')
    const { code, signal } = await server.exited
    expect(code ?? signal).not.toBe(0)
    const lines = server.lines.map((line) => JSON.parse(line))
    expect(lines.at(-1)).toMatchObject({ level: 'error', message: expect.stringContaining('not stopped') })
    expect(lines.at(-1).waitedMs).toBeGreaterThanOrEqual(400)
  })

  it('ends at once when it is asked again, but for what npm hands on of the same signal', async () => {
    await using server = await hang(60_000)
    server.child.kill('SIGTERM')
    await expect.poll(() => server.lines.some((line) => line.includes('"stopping"'))).toBe(true)
    const begunMs = performance.now()
    const again = setInterval(() => server.child.kill('SIGTERM'), 50)
    const { code, signal } = await server.exited.finally(() => clearInterval(again))
    expect(code ?? signal).not.toBe(0)
    expect(performance.now() - begunMs).toBeGreaterThan(300)
  })

  it('stops in order when the one signal comes twice', async () => {
    await using server = ServerProcess.spawn({ directory, args: [] })
    await server.ready
    server.child.kill('SIGINT')
    await expect.poll(() => server.lines.some((line) => line.includes('"stopping"'))).toBe(true)
    server.child.kill('SIGINT')
    expect(await server.exited).toMatchObject({ code: 0 })
    expect(server.lines.at(-1)).toContain('"stopped"')
  })
})

/** `serve` that is to stop while it starts, and never ends that, and one that is told so twice. */
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ServerProcess } from '../../contract-tests/batteries/harness/server-process.ts'

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-stuck-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

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

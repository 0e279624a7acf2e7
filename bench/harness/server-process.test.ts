import { expect, it } from 'vitest'
import { freePort, ServerProcess, versionOf } from './server-process.ts'

/** Burns CPU in a child of its own for a while, then answers connections. */
const program = `
  const { spawnSync } = require('node:child_process')
  spawnSync(process.execPath, ['-e', 'const until = Date.now() + 300; while (Date.now() < until);'])
  require('node:net').createServer().listen(Number(process.argv[1]), '127.0.0.1')
`

it('waits until the server answers, tells what it and its children used, and ends it', async () => {
  const port = await freePort()
  const server = await ServerProcess.start({
    command: process.execPath,
    args: ['-e', program, String(port)],
    port,
    address: `127.0.0.1:${port}`,
  })
  expect(server.address).toBe(`127.0.0.1:${port}`)
  const before = await server.usage()
  expect(before.rssMegabytes).toBeGreaterThan(10)
  await server.windowBegin()
  expect((await server.usage()).cpuSeconds).toBeLessThanOrEqual(before.cpuSeconds)
  const { pid } = server
  process.kill(pid, 0)
  await server[Symbol.asyncDispose]()
  expect(() => process.kill(pid, 0)).toThrow()
  expect(() => server.assertRunning()).toThrow(/has ended/)
})

it('says what a server said that ended instead of listening', async () => {
  const port = await freePort()
  const args = ['-e', 'console.error("no such setting"); process.exitCode = 1']
  const start = ServerProcess.start({ command: process.execPath, args, port, address: '' })
  await expect(start).rejects.toThrow(/has ended; it said: no such setting/)
})

it('finds the version of what is installed', async () => {
  expect(await versionOf(process.execPath, ['--version'], /v(\d+)/)).toBe(process.versions.node.split('.')[0])
  expect(await versionOf('no-such-server', ['--version'], /(.*)/)).toBeUndefined()
})

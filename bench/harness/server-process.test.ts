import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { promisify } from 'node:util'
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

it('takes a server with it when the process ends in between', async () => {
  const port = await freePort()
  const script = `
    import { ServerProcess } from ${JSON.stringify(new URL('server-process.ts', import.meta.url).href)}
    const listen = 'require("node:net").createServer().listen(${port}, "127.0.0.1")'
    await ServerProcess.start({ command: process.execPath, args: ['-e', listen], port: ${port}, address: '' })
    process.exit(3)
  `
  const args = ['--conditions=source', '--input-type=module', '-e', script]
  await expect(promisify(execFile)(process.execPath, args)).rejects.toMatchObject({ code: 3 })
  await expect.poll(() => isFree(port)).toBe(true)
})

/** Nobody listens here, and so we can. */
async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

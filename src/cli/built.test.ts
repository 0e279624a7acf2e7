/** The command as it is published: tsc's modules put together into a few files (rolldown.config.ts). */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import * as ports from 'ratatoskr/ports'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ServerProcess } from '../../contract-tests/batteries/harness/server-process.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const run = promisify(execFile)

let directory = ''
let command = ''

/** Makes the package in a directory of its own, and beside it an application that has it installed. */
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-built-'))
  const made = join(directory, 'package')
  await mkdir(made)
  for (const file of ['package.json', 'rolldown.config.ts']) await cp(join(root, file), join(made, file))
  await symlink(join(root, 'node_modules'), join(made, 'node_modules'))
  const bin = (name: string): string => join(root, 'node_modules/.bin', name)
  const out = ['--outDir', join(made, 'dist'), '--tsBuildInfoFile', join(directory, 'tsbuildinfo')]
  await run(bin('tsc'), ['-p', join(root, 'tsconfig.build.json'), '--noCheck', ...out]) // types are checked elsewhere
  await run(bin('rolldown'), ['--config', 'rolldown.config.ts'], { cwd: made })
  await mkdir(join(directory, 'application/node_modules'), { recursive: true })
  await symlink(made, join(directory, 'application/node_modules/ratatoskr'))
  command = join(made, 'dist/cli/main.js')
}, 120_000)
afterAll(() => rm(directory, { recursive: true }))

const post = (url: string | undefined, body: string, topic = 'orders'): Promise<Response> =>
  fetch(`${url}/v1/topics/${topic}/messages`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/octet-stream' },
  })

describe('the built command', () => {
  it('loads a few files until it has taken its first message', async () => {
    const list = join(directory, 'loaded.json')
    const watcher = join(directory, 'watch.mjs')
    await writeFile(
      watcher,
      `import { registerHooks } from 'node:module'
      import { writeFileSync } from 'node:fs'
      const urls = []
      registerHooks({ load(url, context, next) { urls.push(url); return next(url, context) } })
      process.on('exit', () => writeFileSync(${JSON.stringify(list)}, JSON.stringify(urls)))`,
    )
    const nodeArgs = ['--import', watcher]
    await using server = await ServerProcess.start({ command, directory: join(directory, 'few'), nodeArgs })
    expect((await post(server.urls.http, 'first')).status).toBe(200)
    expect(await server.stop()).toBe(0)
    const urls: string[] = JSON.parse(await readFile(list, 'utf8'))
    const files = urls.filter((url) => url.startsWith('file:'))
    expect(files.length).toBeGreaterThan(5)
    expect(files.length).toBeLessThan(45)
  })

  it('has one class of errors with the plugins of its configuration', async () => {
    const config = join(directory, 'application/ratatoskr.config.mjs')
    await writeFile(
      config,
      `import { RatatoskrError } from 'ratatoskr/ports'
      const see = ({ error }) => { console.error(error.code, error instanceof RatatoskrError) }
      const refuse = ({ topic }) => { if (topic === 'refused') throw new RatatoskrError('RTK_LIMIT_EXCEEDED', 'no') }
      const setup = (context) => { context.before('publish', refuse); context.on('publishFailed', see) }
      export default { plugins: [{ name: 'guard', setup }], limits: { messageBytesMax: 1024 } }`,
    )
    const args = ['--config', config]
    await using server = await ServerProcess.start({ command, directory: join(directory, 'plugin'), args })
    expect(await (await post(server.urls.http, 'x', 'refused')).json()).toMatchObject({
      code: 'RTK_LIMIT_EXCEEDED',
      detail: 'no',
    })
    const refused = await post(server.urls.http, 'x'.repeat(2048))
    const { code } = (await refused.json()) as { readonly code: string }
    await server.stop()
    expect(server.lines).toContain(`${code} true`)
  })

  it('has its workers, and what is loaded at its first use', async () => {
    const config = join(directory, 'application/ratatoskr.config.yaml')
    await writeFile(config, 'workers: 2\n')
    const args = ['--config', config]
    await using server = await ServerProcess.start({ command, directory: join(directory, 'workers'), args })
    expect((await post(server.urls.http, 'first')).status).toBe(200)
    const description = await fetch(`${server.urls.http}/openapi.json`)
    expect(await description.json()).toHaveProperty('openapi')
    const cli = (...words: string[]) =>
      run(process.execPath, [command, ...words, '--url', server.urls.grpc ?? ''])
    await cli('pub', 'orders', 'second', '--partition', '0')
    expect((await cli('topic', 'list', '-o', 'json')).stdout).toContain('orders')
    expect(await server.stop()).toBe(0)
  })

  it('goes with the licences of the packages inside', async () => {
    const files = join(directory, 'package/dist/cli')
    const licences = await readFile(join(files, 'LICENSES.txt'), 'utf8')
    for (const file of await readdir(files)) {
      if (!file.endsWith('.js')) continue
      for (const [, name] of (await readFile(join(files, file), 'utf8')).matchAll(
        /^\/\/ \S*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//gm,
      )) {
        expect(licences).toContain(`${name} `)
      }
    }
    expect(licences).toContain('fastify ')
  })

  it('prints its version', async () => {
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    expect((await run(process.execPath, [command, '--version'])).stdout.trim()).toBe(version)
  })
})

/**
 * Plugins import another copy of what `ratatoskr/ports` exports than the command has inside, apart from the errors. So nothing
 * else may be told by its class.
 */
it('of what plugins import, errors alone are told by their class', async () => {
  const told = new Set<string>()
  for (const folder of ['src', 'adapters', 'plugins']) {
    for (const file of await readdir(join(root, folder), { recursive: true })) {
      if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue
      for (const [, name] of (await readFile(join(root, folder, file), 'utf8')).matchAll(
        /instanceof (\w+)/g,
      )) {
        if (name !== undefined && name in ports) told.add(name)
      }
    }
  }
  expect([...told]).toEqual(['RatatoskrError'])
})

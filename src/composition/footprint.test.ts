/** Who embeds a broker without transports loads none of their packages: the core depends on the composition root's alone. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Prints the packages that a program loads, by watching every module that is loaded. */
const watcher = `
  import { registerHooks } from 'node:module'
  const packages = new Set()
  registerHooks({
    load(url, context, nextLoad) {
      const name = /\\/node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(url)?.[1]
      if (name !== undefined) packages.add(name)
      return nextLoad(url, context)
    },
  })
  process.on('exit', () => console.log(JSON.stringify([...packages].sort())))
`

async function packagesLoadedBy(program: string): Promise<readonly string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-footprint-'))
  try {
    await writeFile(join(directory, 'watch.mjs'), watcher)
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [
        '--conditions=source',
        '--import',
        join(directory, 'watch.mjs'),
        '--input-type=module',
        '--eval',
        program,
      ],
      { cwd: root },
    )
    return JSON.parse(stdout.trim().split('\n').at(-1) as string)
  } finally {
    await rm(directory, { recursive: true })
  }
}

it('an embedded broker in memory loads the container and the native checksum, nothing else', async () => {
  const loaded = await packagesLoadedBy(`
    import { createBroker } from 'ratatoskr'
    import { memoryStorage } from 'ratatoskr/adapters/memory'
    const broker = await createBroker({ storage: memoryStorage() })
    await broker.start()
    await broker.publish('orders', 'hello')
    await broker.stop()
  `)
  const allowed = /^(tsyringe|reflect-metadata|tslib|@node-rs\/crc32.*)$/
  expect(loaded).toContain('tsyringe')
  expect(loaded.filter((name) => !allowed.test(name))).toEqual([])
})

it('the watcher would have seen a transport', async () => {
  const loaded = await packagesLoadedBy(`await import('ratatoskr/adapters/websocket')`)
  expect(loaded).toContain('ws')
})

it('a broker with all transports loads what only some requests need when they come', async () => {
  const loaded = await packagesLoadedBy(`
    import { createBroker } from 'ratatoskr'
    import { grpcTransport } from 'ratatoskr/adapters/grpc'
    import { httpTransport } from 'ratatoskr/adapters/http'
    import { memoryStorage } from 'ratatoskr/adapters/memory'
    import { webSocketTransport } from 'ratatoskr/adapters/websocket'
    const transports = [grpcTransport, httpTransport, webSocketTransport].map((make) => make({ port: 0 }))
    const broker = await createBroker({ storage: memoryStorage(), transports })
    await broker.start()
    await broker.stop()
  `)
  expect(loaded).toContain('fastify')
  const late = /^(ajv|yaml|protobufjs|grpc-health-check|@fastify\/swagger|@grpc\/(reflection|proto-loader))$/
  expect(loaded.filter((name) => late.test(name))).toEqual([])
})

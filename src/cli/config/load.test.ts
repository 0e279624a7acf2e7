import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadConfig } from './load.ts'
import { settingsOfTree } from './settings.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ratatoskr-config-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

const load = (environment: Record<string, string> = {}, flags: object = {}, file?: string) =>
  loadConfig({
    directory,
    environment,
    file,
    flags: Object.keys(flags).length === 0 ? [] : settingsOfTree(flags, 'flag --x'),
  })

describe('loadConfig', () => {
  it('has the documented defaults', async () => {
    const { config, origins } = await load()
    expect(config.storage).toEqual({ kind: 'disk', directory: './data' })
    expect(config.grpc).toEqual({ enabled: true, host: '127.0.0.1', port: 50_051, insecure: false })
    expect([config.http.port, config.websocket.port, config.tcp.port]).toEqual([8_080, 8_081, 7_282])
    expect(config.unix).toEqual({})
    expect(origins.size).toBe(0)
  })

  it('lets later layers win: file, environment, flags', async () => {
    writeFileSync(
      join(directory, 'ratatoskr.config.yaml'),
      'storage:\n  directory: /a\nhttp:\n  port: 1\ngrpc:\n  port: 1\n',
    )
    const { config, origins } = await load(
      { RATATOSKR_HTTP__PORT: '2', RATATOSKR_GRPC__PORT: '2' },
      { grpc: { port: 3 } },
    )
    expect([config.storage.directory, config.http.port, config.grpc.port]).toEqual(['/a', 2, 3])
    expect(origins.get('storage.directory')).toBe('file ratatoskr.config.yaml')
    expect(origins.get('http.port')).toBe('environment variable RATATOSKR_HTTP__PORT')
    expect(origins.get('grpc.port')).toBe('flag --x')
  })

  it.each([
    ['ratatoskr.config.json', '{"http":{"port":7}}'],
    ['ratatoskr.config.yaml', 'http: {port: 7}'],
    ['ratatoskr.config.js', 'export default { http: { port: 7 } }'],
    ['ratatoskr.config.ts', 'const port: number = 7\nexport default { http: { port } }'],
  ])('reads %s', async (name, text) => {
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}')
    writeFileSync(join(directory, name), text)
    expect((await load()).config.http.port).toBe(7)
  })

  // R120: the first broker's names, each with its default, an override, and a bad value that names the variable.
  it.each([
    ['RATATOSKR_MAX_TOPICS', '5', 'limits.topicsMax'],
    ['MAX_SUBSCRIBERS', '5', 'limits.subscribersPerTopicMax'],
    ['RETENTION_MS', '5000', 'topics.defaults.retentionMs'],
    ['RATATOSKR_TOPICS__DEFAULTS__RETENTION_MESSAGES', '5000', 'topics.defaults.retentionMessages'],
    ['TOPIC_BUFFER_SIZE', '5', 'limits.partitionQueueMessagesMax'],
    ['SUBSCRIBER_TIMEOUT', '5', 'limits.memberTimeoutMs'],
    ['GRPC_PORT', '5', 'grpc.port'],
    ['HTTP_PORT', '5', 'http.port'],
  ])('takes %s', async (variable, text, key) => {
    const { config } = await load({ [variable]: text })
    expect(key.split('.').reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], config)).toBe(
      Number(text),
    )
    await expect(load({ [variable]: 'lots' })).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: expect.stringMatching(
        new RegExp(`${key}: .*got "lots" \\(from environment variable ${variable}\\)`),
      ),
    })
  })

  it('takes the storage variables', async () => {
    const { config } = await load({ STORAGE_PATH: '5', STORAGE_ADAPTER: 'memory' })
    expect(config.storage).toEqual({ kind: 'memory', directory: '5' })
    await expect(load({ STORAGE_ADAPTER: 'redis' })).rejects.toMatchObject({
      message: expect.stringContaining('STORAGE_ADAPTER'),
    })
  })

  it('leaves the variables alone that are no settings', async () => {
    const names = ['RATATOSKR_URL', 'RATATOSKR_TOKEN', 'RATATOSKR_CHECK_MEMORY']
    await load(Object.fromEntries(names.map((name) => [name, '1'])))
    await expect(load({ RATATOSKR_CHECK_MEMORIES: '1' })).rejects.toThrow(/checkMemories/)
  })

  it('refuses cluster settings that ask for something', async () => {
    await load({ CLUSTER_NODES: '[]', NODE_DISCOVERY: 'static' })
    await expect(load({ CLUSTER_NODES: '["a:1"]' })).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: expect.stringContaining('CLUSTER_NODES'),
    })
    await expect(load({ NODE_DISCOVERY: 'dns' })).rejects.toMatchObject({
      message: expect.stringContaining('NODE_DISCOVERY'),
    })
  })

  it('refuses unknown keys with a suggestion and the place', async () => {
    writeFileSync(join(directory, 'ratatoskr.config.json'), '{"stroage":{}}')
    await expect(load()).rejects.toMatchObject({
      code: 'RTK_CONFIG_UNKNOWN_KEY',
      message: 'stroage is not a configuration key; did you mean storage? (from file ratatoskr.config.json)',
    })
    await expect(load({ RATATOSKR_LIMITS__TOPIC_MAX: '3' }, {}, 'none.json')).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
    })
    writeFileSync(join(directory, 'ratatoskr.config.json'), '{}')
    await expect(load({ RATATOSKR_LIMITS__TOPIC_MAX: '3' })).rejects.toMatchObject({
      message: expect.stringMatching(
        /limits.topicMax is not .* did you mean topicsMax\? \(from environment variable RATATOSKR_LIMITS__TOPIC_MAX\)/,
      ),
    })
  })

  it.each([
    ['{"http":{"port":70000}}', 'http.port'],
    ['{"http":3}', 'http'],
    ['{"grpc":{"host":""}}', 'grpc.host'],
    ['{"auth":{"tokens":[{"name":"a","token":"short","allow":[]}]}}', 'auth.tokens.0.token'],
    ['{"plugins":[{}]}', 'plugins.0'],
    ['{"storage":{"kind":"tape"}}', 'storage.kind'],
    ['[1]', 'a configuration is an object'],
    ['{', 'could not be read'],
  ])('refuses %s', async (text, names) => {
    writeFileSync(join(directory, 'ratatoskr.config.json'), text)
    await expect(load()).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: expect.stringMatching(new RegExp(`${names}.*\\(from file ratatoskr\\.config\\.json\\)`)),
    })
  })

  it('says of a file that is not there that it does not exist, and who named it', async () => {
    await expect(load({ RATATOSKR_CONFIG: 'nope.json' })).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: 'the configuration file nope.json does not exist (from RATATOSKR_CONFIG)',
    })
  })

  it.each([
    ['disk', 'quorum'],
    ['memory', 'fsync'],
  ])('refuses what %s storage cannot reach: %s', async (kind, level) => {
    const wrong = load({ STORAGE_ADAPTER: kind, RATATOSKR_TOPICS__DEFAULTS__DURABILITY: level })
    await expect(wrong).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
      message: expect.stringContaining('from environment variable RATATOSKR_TOPICS__DEFAULTS__DURABILITY'),
    })
    await load({ STORAGE_ADAPTER: kind, RATATOSKR_TOPICS__DEFAULTS__DURABILITY: 'memory' })
  })

  it('survives hostile keys', async () => {
    writeFileSync(join(directory, 'ratatoskr.config.json'), '{"__proto__":{"polluted":1}}')
    await expect(load()).rejects.toMatchObject({ code: 'RTK_CONFIG_UNKNOWN_KEY' })
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })
})

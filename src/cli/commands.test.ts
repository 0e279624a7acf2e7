/** Every command in this process: exit codes, each by a case of real life, and what goes to which stream. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { httpTransport } from 'ratatoskr/adapters/http'
import { staticTokens } from 'ratatoskr/adapters/static-auth'
import { auditPlugin } from 'ratatoskr/plugins/audit'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunOptions, runHere } from './testing/run-here.ts'

const token = 'a-token-of-some-length'
let broker: EmbeddedBroker
let guarded: EmbeddedBroker
let silent: Server
let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-commands-'))
  broker = await startTestBroker({
    storage: diskStorage({ directory: join(directory, 'data') }),
    transports: [httpTransport({ port: 0 })],
    plugins: [auditPlugin({ file: join(directory, 'audit.jsonl') })],
  })
  await broker.createTopic('orders', { partitions: 2 })
  guarded = await startTestBroker({
    transports: [httpTransport({ port: 0 })],
    security: staticTokens({
      tokens: { [token]: { name: 'reader', allow: [{ actions: ['topic:describe'] }] } },
    }),
  })
  // Somebody who listens and never says a word.
  silent = createServer(() => undefined)
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
})

afterAll(async () => {
  await broker.stop()
  await guarded.stop()
  silent.close()
  await rm(directory, { recursive: true, force: true })
})

/** Runs a command against the broker; `{open}`, `{guarded}`, `{silent}` and `{nobody}` stand for URLs. */
const run = (line: string, options: RunOptions = {}) => {
  const urls: Record<string, string> = {
    '{open}': broker.addresses[0].url,
    '{guarded}': guarded.addresses[0].url,
    '{silent}': `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
    '{nobody}': 'grpc://127.0.0.1:1',
  }
  return runHere(
    line.split(' ').map((word) => urls[word] ?? word),
    { cwd: directory, ...options },
  )
}

describe('exit codes', () => {
  it.each([
    [0, 'topic create fresh --url {open}', 'created fresh'],
    [0, 'topic create fresh-too --partitions 3 --set retentionMs=60000 --url {open}', 'created fresh-too'],
    [0, 'topic list --url {open}', ''],
    [1, 'topic delete orders --url {open}', 'RTK_CANCELLED'],
    [2, 'topc list', "unknown command 'topc'"],
    [2, 'topic list --no-such-option', "unknown option '--no-such-option'"],
    [2, 'topic describe', "missing required argument 'topic'"],
    [2, 'topic create a..b --url {open}', 'RTK_TOPIC_NAME_INVALID'],
    [2, 'topic create x --partitions none --url {open}', '--partitions takes a whole number'],
    [2, 'topic create x --set colour=red --url {open}', 'colour'],
    [2, 'topic alter orders --url {open}', 'nothing to alter'],
    [2, 'sub orders --from yesterday --url {open}', '--from takes earliest'],
    [2, 'sub orders --from 99 --url {open}', 'RTK_OFFSET_OUT_OF_RANGE'],
    [2, 'sub orders -n 0 --url {open}', '--count takes a whole number of at least 1'],
    [2, 'pub orders x -H none --url {open}', '--header takes name=value'],
    [2, 'pub orders x --durability eternal --url {open}', '--durability takes memory'],
    [2, 'topic list -o xml --url {open}', '-o takes table, json, ndjson'],
    [2, 'topic list --url smtp://localhost', 'a broker is named by a URL'],
    [3, 'topic describe nothing --url {open}', 'RTK_TOPIC_NOT_FOUND'],
    [3, 'group describe orders nobody --url {open}', 'RTK_GROUP_NOT_FOUND'],
    [3, 'pub orders x -p 9 --url {open}', 'RTK_PARTITION_NOT_FOUND'],
    [4, 'topic list --url {guarded}', 'RTK_UNAUTHENTICATED'],
    [4, `pub orders x --url {guarded} --token ${token}`, 'RTK_PERMISSION_DENIED'],
    [5, 'topic list --url {nobody}', 'RTK_DISCONNECTED'],
    [6, 'topic create orders --partitions 7 --url {open}', 'RTK_TOPIC_EXISTS'],
    [7, 'topic list --url {silent} --timeout 300', 'RTK_TIMEOUT'],
    [78, 'config validate --set storage.kind=tape', 'storage.kind'],
    [78, 'config validate --set storage.knid=disk', 'did you mean'],
    [78, 'serve --grpc-port lots', 'grpc.port'],
    [78, 'config validate --config nothing.json', 'RTK_CONFIG_INVALID'],
  ])('%i: %s', async (code, line, told) => {
    const result = await run(line)
    expect([result.code, result.stderr]).toEqual([code, expect.stringContaining(told)])
    if (code !== 0) expect(result.stdout.toString()).toBe('')
    expect(result.stderr).not.toMatch(/\n\s+at /)
  })
})

describe('help', () => {
  it('lists every command, on stdout', async () => {
    const { code, stdout, stderr } = await run('--help')
    const commands = [...stdout.toString().matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name)
    expect([code, stderr]).toEqual([0, ''])
    expect(commands).toEqual(
      expect.arrayContaining(['serve', 'config', 'doctor', 'topic', 'pub', 'sub', 'group', 'log', 'audit']),
    )
  })

  it('prints the version', async () => {
    const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))
    expect((await run('--version')).stdout.toString()).toBe(`${version}\n`)
  })
})

describe('config and doctor', () => {
  it('print each value with where it came from, and no secret', async () => {
    const home = await mkdtemp(join(directory, 'config-'))
    await writeFile(
      join(home, 'ratatoskr.config.json'),
      JSON.stringify({
        http: { port: 9_001 },
        grpc: { port: 9_002 },
        auth: { tokens: [{ name: 'reader', token, allow: [] }] },
      }),
    )
    const { code, stdout } = await run('config print -o json --http-port 9003', {
      cwd: home,
      environment: { GRPC_PORT: '9004', RATATOSKR_STORAGE__DIRECTORY: '/somewhere' },
    })
    expect(code).toBe(0)
    const rows: { key: string; value: unknown; from: string }[] = JSON.parse(stdout.toString())
    const from = Object.fromEntries(rows.map((row) => [row.key, [row.value, row.from]]))
    expect(from['http.port']).toEqual([9_003, 'flag --http-port'])
    expect(from['grpc.port']).toEqual([9_004, 'environment variable GRPC_PORT'])
    expect(from['storage.directory']).toEqual([
      '/somewhere',
      'environment variable RATATOSKR_STORAGE__DIRECTORY',
    ])
    expect(from['websocket.port']).toEqual([8_081, 'default'])
    expect(stdout.toString()).not.toContain(token)
    expect((await run('config validate', { cwd: home })).code).toBe(0)
  })

  it('find what keeps a broker from running, and say that a broker answers', async () => {
    const well = await run('doctor -o json --url {open} --directory fresh')
    const findings: { check: string; result: string; detail: string }[] = JSON.parse(well.stdout.toString())
    const found = Object.fromEntries(findings.map(({ check, result }) => [check, result]))
    expect([well.code, found]).toEqual([
      0,
      expect.objectContaining({ node: 'ok', configuration: 'ok', 'data directory': 'ok', broker: 'ok' }),
    ])
    await writeFile(join(directory, 'a-file'), '')
    const ill = await run('doctor -o json --url {nobody} --directory a-file/data --timeout 500')
    expect(ill.code).toBe(1)
    expect(JSON.parse(ill.stdout.toString())).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ check: 'data directory', result: 'failure' }),
        expect.objectContaining({ check: 'broker', result: 'warning' }),
      ]),
    )
  })
})

describe('audit', () => {
  it('verify a chain that is whole, and name the line where one is broken', async () => {
    const file = join(directory, 'audit.jsonl')
    for (const topic of ['a', 'b', 'c']) await broker.createTopic(`audited.${topic}`)
    await broker.removePlugin('audit')
    const whole = await run(`audit verify ${file}`)
    expect([whole.code, whole.stderr]).toEqual([0, expect.stringContaining('the hash chain is whole')])
    const lines = (await readFile(file, 'utf8')).trim().split('\n')
    const at = lines.findIndex((line) => line.includes('audited.b'))
    lines[at] = lines[at].replace('audited.b', 'audited.x')
    const forged = join(directory, 'forged.jsonl')
    await writeFile(forged, `${lines.join('\n')}\n`)
    const broken = await run(`audit verify ${forged}`)
    expect([broken.code, broken.stderr]).toEqual([1, expect.stringContaining(`line ${at + 1}`)])
  })
})

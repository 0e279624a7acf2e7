import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedBroker } from 'ratatoskr'
import { httpTransport } from 'ratatoskr/adapters/http'
import { staticTokens } from 'ratatoskr/adapters/static-auth'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { runHere } from '../testing/run-here.ts'

const tokenOf = (name: string): string => `the-token-of-${name}-is-long`
let broker: EmbeddedBroker
let directory: string
let url: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-profile-'))
  broker = await startTestBroker({
    transports: [httpTransport({ port: 0 })],
    security: staticTokens({
      tokens: {
        [tokenOf('admin')]: { name: 'admin', allow: [{ actions: ['*'] }] },
        [tokenOf('viewer')]: { name: 'viewer', allow: [{ actions: ['broker:describe'] }] },
      },
    }),
  })
  url = broker.addresses[0].url
})

afterAll(async () => {
  await broker.stop()
  await rm(directory, { recursive: true, force: true })
})

const profile = async (...args: string[]) => {
  const line = ['profile', '--url', url, '--token', tokenOf('admin'), '--duration', '30ms', ...args]
  const { code, stdout, stderr } = await runHere(line, { cwd: directory })
  return { code, text: stdout.toString(), stderr }
}

it.each([
  ['cpu', 'nodes'],
  ['heap', 'head'],
])('writes a %s profile to a file', async (kind, part) => {
  const { code, text, stderr } = await profile('--kind', kind, '-o', 'json')
  expect([code, stderr]).toEqual([0, ''])
  const told = JSON.parse(text) as { file: string; bytes: number }
  expect(told).toMatchObject({ file: join(directory, `broker.${kind}profile`), kind, durationMs: 30 })
  const file = await readFile(told.file)
  expect(file.length).toBe(told.bytes)
  expect(Object.keys(JSON.parse(file.toString()) as object)).toContain(part)
})

it('writes where it is told to', async () => {
  expect((await profile('--file', 'mine.json')).text).toMatch(/^file +\S+mine\.json\nkind +cpu\n/)
  expect((await readFile(join(directory, 'mine.json'))).length).toBeGreaterThan(0)
})

it.each([
  [['--token', tokenOf('viewer')], 4, 'RTK_PERMISSION_DENIED'],
  [['--token', 'the-token-of-nobody-at-all'], 4, 'RTK_UNAUTHENTICATED'],
  [['--kind', 'snapshot'], 2, 'RTK_INVALID_ARGUMENT'],
  [['--duration', '61s'], 2, 'RTK_INVALID_ARGUMENT'],
  [['--duration', '20s', '--timeout', '0'], 2, 'RTK_INVALID_ARGUMENT'],
  [['--url', 'grpc://127.0.0.1:1'], 1, 'RTK_NOT_SUPPORTED'],
  [['--url', 'nonsense'], 2, 'RTK_INVALID_ARGUMENT'],
  [['--url', 'http://127.0.0.1:9'], 5, 'RTK_DISCONNECTED'],
  [['--file', '/no/such/directory/x'], 2, 'RTK_INVALID_ARGUMENT'],
])('%j ends with %d, %s', async (args, code, error) => {
  const result = await profile(...args)
  expect([result.code, result.text]).toEqual([code, ''])
  expect(result.stderr).toMatch(new RegExp(`^ratatoskr: ${error}: `))
})

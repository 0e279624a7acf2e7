import type { EmbeddedBroker } from 'ratatoskr'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { staticTokens } from 'ratatoskr/adapters/static-auth'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../../client/index.ts'
import { jsonLines, runHere } from '../testing/run-here.ts'
import type { TopReport } from '../top/report.ts'

const tokenOf = (name: string): string => `the-token-of-${name}-is-long`
let broker: EmbeddedBroker
let guarded: EmbeddedBroker
const urls: Record<string, string> = {}

beforeAll(async () => {
  const transports = [
    tcpTransport({ port: 0 }),
    webSocketTransport({ port: 0 }),
    grpcTransport({ port: 0 }),
    httpTransport({ port: 0 }),
  ]
  broker = await startTestBroker({ transports })
  for (const { url } of broker.addresses) urls[new URL(url).protocol.slice(0, -1)] = url
  await broker.createTopic('orders', { partitions: 2 })
  await broker.createTopic('quiet')
  for (let i = 0; i < 6; i++) await broker.publish('orders', `${i}`)
  const client = await connect(urls.http)
  await client.createQueue('orders', 'billing', {}, { from: 'earliest' })
  await client.commit('orders', 'audit', [{ partition: 0, offset: 1 }])
  await client.close()
  guarded = await startTestBroker({
    transports: [httpTransport({ port: 0 })],
    security: staticTokens({
      tokens: {
        [tokenOf('admin')]: { name: 'admin', allow: [{ actions: ['*'] }] },
        [tokenOf('viewer')]: { name: 'viewer', allow: [{ actions: ['broker:describe', 'topic:list'] }] },
        [tokenOf('reader')]: { name: 'reader', allow: [{ actions: ['topic:consume'] }] },
      },
    }),
  })
  const admin = await connect(guarded.addresses[0].url, {
    credentials: { kind: 'bearer', token: tokenOf('admin') },
  })
  await admin.createTopic('orders')
  await admin.createQueue('orders', 'secret')
  await admin.close()
})

afterAll(async () => {
  await broker.stop()
  await guarded.stop()
})

const once = async (url: string, ...args: string[]) => {
  const line = ['top', '--once', '--interval', '100ms', '--url', url, ...args]
  const { code, stdout, stderr } = await runHere(line)
  return { code, text: stdout.toString(), stderr }
}

describe('top --once', () => {
  it.each(['tcp', 'ws', 'grpc', 'http'])('tells what a broker has to do, over %s', async (protocol) => {
    const { code, text } = await once(urls[protocol], '-o', 'json')
    expect(code).toBe(0)
    const report = JSON.parse(text) as TopReport
    expect(report.topics.map(({ topic, partitions, messages }) => [topic, partitions, messages])).toEqual([
      ['orders', 2, 6],
      ['quiet', 1, 0],
    ])
    expect(report.topics[0]).toMatchObject({ lagMax: 6, groups: 2, inPerSecond: 0, outPerSecond: 0 })
    expect(report.groups.map(({ group, kind, lag }) => [group, kind, lag])).toEqual([
      ['billing', 'queue', 6],
      ['audit', 'stream', 5],
    ])
    const { residentBytes = 0, heapBytes = 0, cpuPercent, loopDelayMs, connections } = report.broker
    expect(residentBytes).toBeGreaterThan(heapBytes)
    expect(heapBytes).toBeGreaterThan(1024 * 1024)
    expect(connections).toBeGreaterThan(0)
    expect([cpuPercent, loopDelayMs]).toEqual([expect.any(Number), expect.any(Number)])
  })

  it('prints text without escape codes where there is no terminal', async () => {
    const { text } = await once(urls.http)
    expect(text).toMatch(
      /^up \d+s {3}connections \d+ .*\nin 0\/s, 0 B\/s .*\ncpu \d+ % .*\n\nTOPIC +PARTITIONS /,
    )
    expect(text).toMatch(/\norders +billing +queue +empty +0 +6 +0 +0\n/)
    expect(text).not.toContain('\u001b')
  })

  it('shows as many topics as it is asked to', async () => {
    const { text } = await once(urls.http, '--topics', '1', '-o', 'json')
    expect((JSON.parse(text) as TopReport).topics).toHaveLength(1)
  })

  it('leaves out what the caller may not see, and needs the right to describe the broker', async () => {
    const { url } = guarded.addresses[0]
    const seen = JSON.parse((await once(url, '-o', 'json', '--token', tokenOf('viewer'))).text) as TopReport
    expect([seen.topics.map(({ topic }) => topic), seen.groups]).toEqual([['orders'], []])
    const { code, stderr, text } = await once(url, '--token', tokenOf('reader'))
    expect([code, text]).toEqual([4, ''])
    expect(stderr).toMatch(/^ratatoskr: RTK_PERMISSION_DENIED: /)
  })

  it.each([
    [['--interval', '10ms'], 'RTK_INVALID_ARGUMENT: --interval takes 100ms to 1h'],
    [['--interval', '2'], 'RTK_INVALID_ARGUMENT: --interval takes a duration'],
    [['--topics', '0'], 'RTK_INVALID_ARGUMENT: --topics takes'],
    [['-o', 'yaml'], 'RTK_INVALID_ARGUMENT: -o takes'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await once(urls.http, ...args)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })

  it('says so when nobody answers', async () => {
    const { code, stderr } = await once('http://127.0.0.1:9')
    expect(code).toBe(5)
    expect(stderr).toMatch(/^ratatoskr: RTK_DISCONNECTED: /)
  })
})

it('goes on until it is stopped, with the rates of what happens meanwhile', async () => {
  const before = process.listeners('SIGINT')
  const running = runHere(['top', '--interval', '100ms', '-o', 'ndjson', '--url', urls.grpc])
  await expect.poll(() => process.listenerCount('SIGINT')).toBe(before.length + 1)
  const messages = await broker.subscribe('quiet', () => undefined)
  const until = performance.now() + 600
  while (performance.now() < until) {
    await broker.publish('quiet', 'x')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await messages.close()
  const [stop] = process.listeners('SIGINT').filter((one) => !before.includes(one))
  stop('SIGINT')
  const { code, stdout } = await running
  expect(code).toBe(0)
  const reports = jsonLines<TopReport>(stdout)
  expect(reports.length).toBeGreaterThan(1)
  expect(Math.max(...reports.map((report) => report.broker.inPerSecond))).toBeGreaterThan(0)
  const busy = reports.find(({ topics }) => topics[0].inPerSecond > 0)
  expect(busy?.topics[0].topic).toBe('quiet')
  expect(Math.max(...reports.map(({ topics }) => topics[0].outPerSecond))).toBeGreaterThan(0)
  expect(process.listeners('SIGINT')).toEqual(before)
})

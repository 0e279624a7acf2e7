import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EmbeddedBroker } from 'ratatoskr'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { staticTokens } from 'ratatoskr/adapters/static-auth'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runHere } from '../testing/run-here.ts'

const token = 'a-token-of-some-length'
let broker: EmbeddedBroker
let guarded: EmbeddedBroker
let directory: string
const urls: Record<string, string> = {}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-bench-command-'))
  const transports = [
    tcpTransport({ port: 0 }),
    tcpTransport({ path: join(directory, 'socket') }),
    webSocketTransport({ port: 0 }),
    grpcTransport({ port: 0 }),
    httpTransport({ port: 0 }),
  ]
  broker = await startTestBroker({ transports })
  for (const { url } of broker.addresses) urls[new URL(url).protocol.slice(0, -1)] = url
  guarded = await startTestBroker({
    transports: [httpTransport({ port: 0 })],
    security: staticTokens({
      tokens: { [token]: { name: 'reader', allow: [{ actions: ['topic:describe'] }] } },
    }),
  })
})

afterAll(async () => {
  await broker.stop()
  await guarded.stop()
  await rm(directory, { recursive: true, force: true })
})

const briefly = ['--warm-up', '20ms', '--duration', '100ms', '-o', 'json']
const none = { lost: 0, duplicated: 0, disordered: 0, damaged: 0 }
const latency = {
  p50: expect.any(Number),
  p99: expect.any(Number),
  p999: expect.any(Number),
  max: expect.any(Number),
}

const bench = async (...args: readonly string[]) => {
  const { code, stdout, stderr } = await runHere(['bench', ...briefly, '--url', urls.tcp, ...args])
  return { code, stderr, report: stdout.length === 0 ? undefined : JSON.parse(stdout.toString()) }
}

const ownTopics = async () => (await broker.listTopics()).map(({ name }) => name)
const ownMessages = async () => {
  const [name] = await ownTopics()
  return name === undefined ? 0 : (await broker.topicStats(name)).messageCount
}

describe('ratatoskr bench', () => {
  it.each(['tcp', 'unix', 'ws', 'grpc', 'http'])(
    'measures over %s, and leaves nothing behind',
    async (scheme) => {
      const { code, report, stderr } = await bench('--url', urls[scheme])
      expect({ code, report }, stderr).toMatchObject({
        code: 0,
        report: {
          topic: expect.stringMatching(/^bench-[0-9a-f]{8}$/),
          transport: scheme,
          payloadBytes: 100,
          producers: 1,
          consumers: 1,
          latencyMs: latency,
          ...none,
          cpuSeconds: expect.any(Number),
        },
      })
      expect(report.published).toBeGreaterThan(0)
      expect(report.delivered).toBe(report.published)
      expect(report.megabytesPerSecond).toBeCloseTo(report.messagesPerSecond / 1e4, 1)
      expect(report.seconds).toBeGreaterThanOrEqual(0.1)
      expect(await ownTopics()).toEqual([])
    },
  )

  it.each([
    ['in batches', []],
    ['one by one', ['--single']],
  ])('counts every message of several producers at each of several consumers, %s', async (how, more) => {
    const many = ['--producers', '3', '--partitions', '2', '--consumers', '2']
    const { report } = await bench(...many, ...more, '--rate', '3000', '--payload', '24')
    expect(report).toMatchObject({ messages: how, ratePerSecond: 3_000, ...none })
    // Each consumer gets everything.
    expect(report.published).toBeGreaterThan(0)
    expect(report.delivered).toBe(2 * report.published)
    expect('acknowledgedMs' in report).toBe(how === 'one by one')
  })

  it('only publishes with no consumers, with few under way', async () => {
    const { code, report } = await bench('--consumers', '0', '--single', '--in-flight', '2')
    expect({ code, report }).toMatchObject({ code: 0, report: { acknowledgedMs: latency, ...none } })
    expect(report).not.toHaveProperty('latencyMs')
    expect(report.messagesPerSecond).toBe(report.publishedPerSecond)
  })

  it('prints a table', async () => {
    const { code, stdout } = await runHere([
      'bench',
      ...briefly,
      '-o',
      'table',
      '--rate',
      '100',
      '--url',
      urls.tcp,
    ])
    expect(code).toBe(0)
    expect(stdout.toString()).toMatch(/^messagesPerSecond +\d+$/m)
    expect(stdout.toString()).toMatch(/^latencyMs\.p99 +[\d.]+$/m)
  })

  it('uses a topic that is there, and leaves it with what was published', async () => {
    await broker.createTopic('mine', { partitions: 2 })
    await broker.publish('mine', 'of somebody else', { partition: 0 })
    const { code, report } = await bench('--topic', 'mine', '--rate', '1000')
    expect({ code, report }).toMatchObject({ code: 0, report: { topic: 'mine', ...none } })
    expect((await broker.topicStats('mine')).messageCount).toBe(1 + report.published)
    await broker.deleteTopic('mine')
  })

  it('ends with 1 when somebody else publishes into the topic meanwhile', async () => {
    await broker.createTopic('shared')
    const publishing = setInterval(() => void broker.publish('shared', 'x'.repeat(100)), 10)
    const { code, report, stderr } = await bench('--topic', 'shared', '--rate', '1000', '--duration', '500ms')
    clearInterval(publishing)
    expect(code).toBe(1)
    expect(report.damaged).toBeGreaterThan(0)
    expect(stderr).toContain('were lost, came twice, late or damaged')
    await broker.deleteTopic('shared')
  })

  it('ends early when as much is published as may be, and says so', async () => {
    const { code, report, stderr } = await bench('--duration', '1h', '--max-bytes', '20000', '--rate', '2000')
    expect(code).toBe(0)
    expect(report.seconds).toBeLessThan(60)
    expect(stderr).toContain('--max-bytes sets how many')
  })

  it('says when the rate was not reached', async () => {
    const { report, stderr } = await bench('--single', '--in-flight', '1', '--rate', '1000000')
    expect(report).toMatchObject(none)
    expect(stderr).toContain('instead of 1000000')
    // What is overdue counts from when it was due.
    expect(report.acknowledgedMs.max).toBeGreaterThan(50)
  })

  it.each(['SIGINT', 'SIGTERM'] as const)(
    '%s ends it early: it reports, and deletes its topic',
    async (signal) => {
      const before = process.listenerCount(signal)
      const ending = (async () => {
        // What is stored by then was sent over a tenth of a second: the warm-up is over.
        while ((await ownMessages()) < 100) await sleep(5)
        process.emit(signal)
      })()
      const { code, report } = await bench('--duration', '1h', '--rate', '1000', '--warm-up', '1ms')
      await ending
      expect({ code, report }).toMatchObject({ code: 0, report: none })
      expect(report.seconds).toBeLessThan(60)
      expect(await ownTopics()).toEqual([])
      expect(process.listenerCount(signal)).toBe(before)
    },
  )

  it('is cancelled before it has measured anything', async () => {
    const ending = setInterval(async () => {
      if ((await ownTopics()).length === 0) return
      clearInterval(ending)
      process.emit('SIGINT')
    }, 5)
    const { code, report, stderr } = await bench('--warm-up', '1h', '--rate', '100')
    expect({ code, report }).toEqual({ code: 1, report: undefined })
    expect(stderr).toContain('RTK_CANCELLED')
    expect(await ownTopics()).toEqual([])
  })

  it('ends with what happened when the topic goes away under it', async () => {
    const deleting = setInterval(async () => {
      const [name] = await ownTopics()
      if (name === undefined) return
      clearInterval(deleting)
      setTimeout(() => void broker.deleteTopic(name), 50)
    }, 5)
    const { code, stderr } = await bench('--duration', '1h', '--rate', '1000')
    expect([code, stderr]).toEqual([3, expect.stringContaining('RTK_TOPIC_DELETED')])
    expect(stderr).not.toContain('could not be deleted')
    expect(await ownTopics()).toEqual([])
  })

  it.each([
    [2, ['--payload', '5'], '--payload takes a whole number of at least 24'],
    [2, ['--producers', '0'], '--producers takes a whole number of at least 1'],
    [2, ['--producers', '1001'], '--producers takes at most 1000'],
    [2, ['--consumers', '-1'], '--consumers takes a whole number of at least 0'],
    [2, ['--rate', '0'], '--rate takes a whole number of at least 1'],
    [2, ['--duration', '5'], '--duration takes a duration'],
    [2, ['--warm-up', 'x'], '--warm-up takes a duration'],
    [2, ['--durability', 'eternal'], '--durability takes memory'],
    [2, ['--in-flight', '5'], '--in-flight goes with --single'],
    [2, ['--topic', 'x', '--partitions', '2'], '--partitions is for a topic of its own'],
    [2, ['-o', 'xml'], '-o takes table, json, ndjson'],
    [1, ['--durability', 'quorum'], 'RTK_DURABILITY_UNAVAILABLE'],
    [3, ['--topic', 'nowhere'], 'RTK_TOPIC_NOT_FOUND'],
    [5, ['--url', 'tcp://127.0.0.1:1'], 'RTK_DISCONNECTED'],
  ])('ends with %i for %j', async (expected, args, message) => {
    const { code, report, stderr } = await bench(...args)
    expect({ code, report }, stderr).toEqual({ code: expected, report: undefined })
    expect(stderr).toContain(message)
    expect(await ownTopics()).toEqual([])
  })

  it('ends with 4 for who may not create topics', async () => {
    const url = guarded.addresses[0].url
    const { code, stderr } = await bench('--url', url, '--token', token)
    expect([code, stderr]).toEqual([4, expect.stringContaining('RTK_PERMISSION_DENIED')])
  })
})

/** A byte of a log on disk changes while the broker is down: what every client sees of it, over every transport. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedBroker } from 'ratatoskr'
import { diskStorage, repairDataDirectory } from 'ratatoskr/adapters/disk'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { type Client, connect } from 'ratatoskr/client'
import type { Logger } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const count = 30
const lost = { from: 12, to: 15 }

let directory: string
let broker: EmbeddedBroker

const started = (): Promise<EmbeddedBroker> =>
  startTestBroker({
    storage: diskStorage({ directory }),
    transports: [
      grpcTransport({ port: 0 }),
      webSocketTransport({ port: 0 }),
      httpTransport({ port: 0 }),
      tcpTransport({ port: 0 }),
    ],
  })

/** Changes a byte of the payload `text` where it is stored. */
async function damage(text: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true })
  for (const name of entries.filter((entry) => entry.startsWith('logs') && entry.endsWith('.log'))) {
    const bytes = await readFile(join(directory, name))
    const at = bytes.indexOf(text)
    if (at === -1) continue
    bytes[at] ^= 1
    await writeFile(join(directory, name), bytes)
    return
  }
  throw new Error(`${text} is not on the disk`)
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-damage-'))
  const before = await started()
  await before.createTopic('orders')
  // Batches of three: a damaged byte costs its batch, and no other.
  for (let i = 0; i < count; i += 3) {
    await before.publishMany(
      'orders',
      [0, 1, 2].map((place) => ({ payload: `message-${i + place};` })),
    )
  }
  await before.stop()
  await damage('message-13;')
  broker = await started()
})

afterAll(async () => {
  await broker.stop()
  await rm(directory, { recursive: true, force: true })
})

const clients: [string, () => Promise<Client>][] = [
  ['embedded', () => broker.client()],
  ['gRPC', () => connect(broker.addresses[0].url)],
  ['WebSocket', () => connect(broker.addresses[1].url)],
  ['HTTP', () => connect(broker.addresses[2].url)],
  ['TCP', () => connect(broker.addresses[3].url)],
]

const left = Array.from({ length: count }, (_, i) => i).filter((i) => i < lost.from || i >= lost.to)

describe.each(clients)('a %s client', (name, open) => {
  it('is given everything that is left, and told of the gap', async () => {
    const client = await open()
    for (const options of [{ from: 'earliest' as const }, { group: `group-${name}` }]) {
      const gaps: unknown[] = []
      const subscription = await client.subscribe('orders', { ...options, onGap: (gap) => gaps.push(gap) })
      const got = await subscription.take(left.length, { waitMs: 5_000 })
      while (got.length < left.length) {
        const more = await subscription.take(left.length - got.length, { waitMs: 2_000 })
        if (more.length === 0) break
        got.push(...more)
      }
      expect(got.map(({ offset }) => offset)).toEqual(left)
      expect(got.map((message) => message.text())).toEqual(left.map((offset) => `message-${offset};`))
      // Messages of a group come as they are ready: there is nothing that they would have to follow on.
      const gap = { partition: 0, expectedOffset: lost.from, offset: lost.to, reason: 'gone' }
      expect(gaps).toEqual('group' in options ? [] : [gap])
      for (const message of got) void message.ack()
      await subscription.flush()
      await subscription.close()
    }
    expect((await client.describeGroup('orders', `group-${name}`)).lag).toBe(0)
    await client.close()
  })

  it('is told where to go on by a fetch', async () => {
    const client = await open()
    await expect(client.fetch('orders', { offset: 13 })).rejects.toMatchObject({
      code: 'RTK_STORE_CORRUPT',
      details: { offset: 13, nextOffset: lost.to },
    })
    const found = await client.fetch('orders', { offset: lost.to })
    expect(found.map(({ offset }) => offset)).toEqual(left.filter((offset) => offset >= lost.to))
    await client.close()
  })

  it('sees the loss in descriptions and statistics', async () => {
    const client = await open()
    expect((await client.describeTopic('orders')).partitions).toMatchObject([{ damaged: [lost] }])
    expect((await client.topicStats('orders')).partitions).toMatchObject([{ damaged: [lost] }])
    const { messagesSkipped, storage, process: load, ...stats } = await client.brokerStats()
    expect({ ...stats, messagesSkipped, storage }).toEqual({
      ...broker.stats(),
      uptimeMs: expect.any(Number),
      sessions: expect.any(Number),
    })
    expect(messagesSkipped).toBeGreaterThan(0)
    expect(storage.hotReads + storage.coldReads).toBeGreaterThan(0)
    expect(load?.residentBytes).toBeGreaterThan(1024 * 1024)
    expect(load?.loopDelayMs).toBeGreaterThanOrEqual(0)
    await client.close()
  })
})

it('the broker is ready and degraded, and takes messages', async () => {
  expect(broker.health()).toMatchObject({
    status: 'degraded',
    ready: true,
    components: expect.arrayContaining([
      expect.objectContaining({
        name: 'partition orders/0',
        status: 'degraded',
        lastError: 'RTK_STORE_CORRUPT',
      }),
    ]),
  })
  expect((await broker.publish('orders', 'more')).offset).toBe(count)
})

it('a loss that was accepted is told once a start, and troubles nobody any more', async () => {
  await broker.stop()
  const options = { dryRun: false, acceptLoss: true, setAside: [] }
  for await (const { result } of repairDataDirectory(directory, nodePlatform(), options)) {
    expect(result).toBe('done')
  }
  // As after a crash, and as after a clean stop.
  for (const levels of [['info'], []]) {
    const told: string[] = []
    const note = (level: string) => (message: string) => {
      if (message.startsWith('a segment')) told.push(level)
    }
    const logger: Logger = {
      ...{ debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') },
      child: () => logger,
    }
    broker = await startTestBroker({
      storage: diskStorage({ directory }),
      platform: nodePlatform({ logger }),
    })
    expect(told).toEqual(levels)
    expect(broker.health()).toMatchObject({ status: 'ok' })
    const client = await broker.client()
    expect((await client.describeTopic('orders')).partitions).toMatchObject([{ damaged: [lost] }])
    await client.close()
    if (levels.length > 0) await broker.stop()
  }
})

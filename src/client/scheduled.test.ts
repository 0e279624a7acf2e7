/** Messages with a delivery time over every link: each is kept by the broker, whatever way it was published. */
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { type Client, connect } from 'ratatoskr/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const hourMs = 3_600_000
const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
const links = ['embedded', 'gRPC', 'WebSocket', 'HTTP', 'TCP']
let broker: EmbeddedBroker

beforeAll(async () => {
  broker = await createBroker({
    storage: memoryStorage(),
    transports: [
      grpcTransport({ port: 0 }),
      webSocketTransport({ port: 0 }),
      httpTransport({ port: 0 }),
      tcpTransport({ port: 0 }),
    ],
    platform: { logger: silent },
    // A busy machine is no overload of the broker.
    limits: { loopDelayMsMax: 60_000 },
  })
  await broker.start()
})
afterAll(() => broker.stop())

const open = (link: string): Promise<Client> =>
  link === 'embedded'
    ? Promise.resolve(broker.client())
    : connect(broker.addresses[links.indexOf(link) - 1].url)

describe.each(links)('messages for later over %s', (link) => {
  const topic = `later.${link.toLowerCase()}`

  it('wait, are listed with their sizes, and can be taken back', async () => {
    await using client = await open(link)
    await client.createTopic(topic)
    const deliverAtMs = Date.now() + hourMs
    const first = await client.publish(topic, 'one', { deliverAtMs, key: 'k', headers: { h: '1' } })
    expect(first).toMatchObject({ partition: -1, offset: -1, deliverAtMs })
    const results = await client.publishMany(topic, [
      { payload: 'now' },
      { payload: 'two', deliverAtMs: deliverAtMs + 1 },
      { payload: 'wrong', delayMs: 367 * 24 * hourMs },
      { payload: 'now too' },
    ])
    expect(
      results.map((result) => ('error' in result ? result.error.code : [result.offset, result.deliverAtMs])),
    ).toEqual([[0, undefined], [-1, deliverAtMs + 1], 'RTK_INVALID_ARGUMENT', [1, undefined]])
    const { messages } = await client.listScheduled(topic, { limit: 10 })
    expect(messages.map(({ sizeBytes }) => sizeBytes)).toEqual([6, 3])
    expect(await client.cancelScheduled(topic, first.id)).toBe(true)
    expect(await client.cancelScheduled(topic, first.id)).toBe(false)
    expect((await client.fetch(topic)).map(({ payload }) => new TextDecoder().decode(payload))).toEqual([
      'now',
      'now too',
    ])
  })

  it('are refused with a time that is none, where nothing of them travels', async () => {
    await using client = await open(link)
    const wrong = [Number.NaN, Number.POSITIVE_INFINITY, 1.5, -1, null] as number[]
    const later = { deliverAtMs: Date.now() + hourMs }
    for (const value of wrong) {
      for (const field of ['deliverAtMs', 'delayMs', 'timestampMs', 'ttlMs', 'expiresAtMs', 'partition']) {
        const refused = { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining(field) }
        const isTime = field === 'deliverAtMs' || field === 'delayMs'
        const fields = isTime ? { [field]: value } : { ...later, [field]: value }
        await expect(client.publish(topic, 'x', fields)).rejects.toMatchObject(refused)
        const [{ error }] = (await client.publishMany(topic, [{ payload: 'x', ...fields }])) as [
          { error?: unknown },
        ]
        expect(error).toMatchObject(refused)
        if (!isTime)
          await expect(client.publish(topic, 'x', { [field]: value })).rejects.toMatchObject(refused)
      }
      for (const field of ['rate', 'max', 'after', 'sinceMs', 'untilMs']) {
        if (field === 'max' && value === Number.POSITIVE_INFINITY) continue
        const refused = { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining(field) }
        await expect(client.redriveDeadLetters(topic, { [field]: value })).rejects.toMatchObject(refused)
      }
      await expect(client.listScheduled(topic, { limit: value })).rejects.toMatchObject({
        code: 'RTK_INVALID_ARGUMENT',
      })
    }
  })

  it('come a little later when the delay is little, and flush waits until the broker has them', async () => {
    await using client = await open(link)
    await using producer = client.producer()
    const published = producer.publish(topic, 'soon', { delayMs: 30, headers: { h: 'ä' } })
    await producer.flush()
    await published
    const soon = await client.fetch(topic, { offset: 2, waitMs: 5_000 })
    expect(soon.map(({ payload }) => new TextDecoder().decode(payload))).toEqual(['soon'])
    expect(soon[0].headers.map(([name]) => name)).toContain('h')
  })

  it('are refused by a bulk, which could not say when', async () => {
    await using client = await open(link)
    await using producer = client.producer()
    const bulk = producer.addAll(topic, [{ payload: 'x', delayMs: hourMs }])
    await expect(bulk).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
  })
})

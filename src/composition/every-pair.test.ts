/** Publish by one protocol, subscribe by another: every pair, every field byte for byte. */
import fc from 'fast-check'
import type { EmbeddedBroker } from 'ratatoskr'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { type Client, connect, type MessageToPublish } from 'ratatoskr/client'
import { defaultLimits, utf8 } from 'ratatoskr/ports'
import { publishAndAssertDelivery, startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { anyCharacter } from '../domain/testing/any-character.ts'
import { rounds } from '../testing/rounds.ts'

const protocols = ['gRPC', 'WebSocket', 'HTTP', 'TCP'] as const
const pairs = protocols.flatMap((from) => protocols.map((to) => [from, to] as const))

const bytes = (max: number) => fc.uint8Array({ maxLength: max })
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })

const headerName = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'a', 'A', 'naïve ☃', 'x'.repeat(256)),
  fc
    .string({ unit: anyCharacter, minLength: 1, maxLength: 20 })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what the rule refuses
    .filter((name) => name.isWellFormed() && !/[\u0000-\u001f\u007f-\u009f]/.test(name))
    .filter((name) => !name.toLowerCase().startsWith('rtk-')),
)

/** Names may repeat, and their order counts. */
const anyMessage: fc.Arbitrary<MessageToPublish> = fc.record({
  payload: fc.oneof(bytes(300), fc.constant(new Uint8Array(0))),
  key: maybe(bytes(60)),
  headers: maybe(fc.array(fc.tuple(headerName, bytes(40)), { maxLength: 6 })),
  id: maybe(fc.uuid({ version: 4 })),
  timestampMs: maybe(fc.integer({ min: 0, max: 4_102_444_800_000 })),
  partition: maybe(fc.integer({ min: 0, max: 3 })),
})

const anyMessages = fc.uniqueArray(anyMessage, {
  minLength: 1,
  maxLength: 8,
  // Ids are the identity: two messages of one id would be one to whoever looks for it.
  comparator: (one, other) => one.id !== undefined && one.id === other.id,
})

/** Bytes of which no two places nearby are the same; made once for all pairs. */
const patterned = new Uint8Array(defaultLimits.messageBytesMax).map((_, i) => i * 31 + (i >> 8))

describe('publishing by one protocol and subscribing by another', () => {
  let broker: EmbeddedBroker
  const clients = new Map<string, Client>()

  beforeAll(async () => {
    const transports = [
      grpcTransport({ port: 0 }),
      webSocketTransport({ port: 0 }),
      httpTransport({ port: 0 }),
      tcpTransport({ port: 0 }),
    ]
    broker = await startTestBroker({ transports })
    for (const [i, protocol] of protocols.entries()) {
      clients.set(protocol, await connect(broker.addresses[i].url, { platform: broker.platform }))
    }
  })

  afterAll(async () => {
    for (const client of clients.values()) await client.close()
    await broker.stop()
  })

  const client = (protocol: string): Client => clients.get(protocol) as Client

  it.each(pairs)('%s to %s: any message, every field', async (from, to) => {
    const topic = `any.${from}.${to}`
    await broker.createTopic(topic, { partitions: 4 })
    await fc.assert(
      fc.asyncProperty(anyMessages, async (messages) => {
        await publishAndAssertDelivery({ topic, messages, publisher: client(from), subscriber: client(to) })
      }),
      { numRuns: rounds(20, 5) },
    )
  })

  it.each(pairs)('%s to %s: an empty payload, 1 MiB, and the largest allowed', async (from, to) => {
    const topic = `sizes.${from}.${to}`
    await broker.createTopic(topic)
    const largest = broker.facade.limits.messageBytesMax
    const messages = [0, 1, 1024 * 1024, largest].map((size) => patterned.subarray(largest - size, largest))
    const { delivered } = await publishAndAssertDelivery({
      topic,
      messages,
      publisher: client(from),
      subscriber: client(to),
    })
    expect(delivered.map(({ payload }) => payload.length)).toEqual(messages.map(({ length }) => length))
  })

  it.each(pairs)('%s to %s: a text in any script, through a group', async (from, to) => {
    const topic = `texts.${from}.${to}`
    await broker.createTopic(topic)
    const messages = ['Ratatöskr', '松鼠', '🐿️', '\u0000\r\n', ''].map((text) => ({
      payload: text,
      key: text,
      headers: { text },
    }))
    const { delivered } = await publishAndAssertDelivery({
      topic,
      messages,
      publisher: client(from),
      subscriber: client(to),
      group: 'readers',
    })
    expect(delivered.map((message) => [message.text(), message.keyText(), message.header('text')])).toEqual(
      messages.map(({ payload }) => [payload, payload, payload]),
    )
  })

  it.each(protocols)('%s refuses a topic in another script, by the rule of names', async (protocol) => {
    const refused = ['заказы', 'naïve', '订单', 'a\u0000b', '🐿️']
    for (const topic of refused) {
      const calls = [
        () => client(protocol).publish(topic, utf8('x')),
        () => client(protocol).subscribe(topic),
        () => client(protocol).createTopic(topic),
      ]
      for (const call of calls) {
        await expect(call(), topic).rejects.toMatchObject({ code: 'RTK_TOPIC_NAME_INVALID' })
      }
    }
    expect((await broker.listTopics()).filter(({ name }) => refused.includes(name))).toEqual([])
  })
})

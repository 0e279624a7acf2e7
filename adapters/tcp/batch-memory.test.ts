/** The way of large batches through a broker, from socket to socket, while their memory serves one after the other. */
import { createBroker } from 'ratatoskr'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { connect } from 'ratatoskr/client'
import { metricsPlugin } from 'ratatoskr/plugins/metrics'
import type { MessagePublishedEvent, Plugin } from 'ratatoskr/ports'
import { expect, it, onTestFinished, vi } from 'vitest'
import { tcpTransport } from './index.ts'

const payloadBytes = 150_000
const batches = 120

/** The same bytes all through, which tell its place: each message shows whether it is whole. */
const payloadOf = (place: number): Uint8Array => new Uint8Array(payloadBytes).fill(place)

/** A broker that keeps the last 20 batches, and how often memory served again. */
async function started(plugins: readonly Plugin[]) {
  const reused = vi.spyOn(ArrayBuffer.prototype, 'transfer')
  onTestFinished(() => reused.mockRestore())
  const broker = await createBroker({
    storage: memoryStorage(),
    transports: [tcpTransport({ port: 0 }), webSocketTransport({ port: 0 }), grpcTransport({ port: 0 })],
    plugins,
    retentionIntervalMs: 5,
  })
  onTestFinished(() => broker.stop())
  await broker.start()
  await broker.createTopic('blobs', { retentionBytes: 20 * payloadBytes, segmentBytes: 200_000 })
  return { broker, reuses: () => reused.mock.calls.length }
}

it('is not used again while an observer may hold it, who did not say that he never looks at batches', async () => {
  const events: MessagePublishedEvent[] = []
  let messages: ((event: MessagePublishedEvent) => Iterable<{ readonly payload: Uint8Array }>) | undefined
  const { broker, reuses } = await started([
    {
      name: 'keeping',
      setup(context) {
        messages = context.messages
        context.on('messagePublished', (event) => {
          events.push(event)
        })
      },
    },
  ])
  const client = await connect(broker.addresses[0].url)
  onTestFinished(() => client.close())
  for (let place = 0; place < 60; place++) await client.publish('blobs', payloadOf(place))
  const seen = events.flatMap((event) => [...(messages?.(event) ?? [])])
  expect(seen.every(({ payload }, place) => Buffer.compare(payload, payloadOf(place)) === 0)).toBe(true)
  expect([seen.length, reuses()]).toEqual([60, 0])
})

it.each([
  ['tcp', 0],
  ['ws', 1],
  ['grpc', 2],
])('what is read and kept by some stays as it is, while others give it back (%s)', async (_, transport) => {
  const { broker, reuses } = await started([metricsPlugin()])
  const [writing, reading] = await Promise.all([
    connect(broker.addresses[transport].url),
    connect(broker.addresses[transport].url),
  ])
  onTestFinished(async () => void (await Promise.all([writing.close(), reading.close()])))
  const seen: number[] = []
  const broken: number[] = []
  const subscription = await reading.subscribe('blobs', (message) => {
    const [place] = message.payload
    seen.push(place)
    if (Buffer.compare(message.payload, payloadOf(place)) !== 0) broken.push(place)
  })
  onTestFinished(() => subscription.close())
  const kept: { readonly bytes: Uint8Array; readonly copy: Uint8Array }[] = []
  for (let place = 0; place < batches; place++) {
    await writing.publish('blobs', payloadOf(place))
    await expect.poll(() => seen.length, { interval: 1 }).toBe(place + 1)
    if (place % 30 !== 0) continue
    // Somebody in the broker's process who holds what he was given for as long as he likes.
    const [{ payload }] = await broker.fetch('blobs', { partition: 0, offset: 'earliest' })
    kept.push({ bytes: payload, copy: payload.slice() })
  }
  expect(seen).toEqual(Array.from({ length: batches }, (_, place) => place))
  expect(broken).toEqual([])
  for (const { bytes, copy } of kept) expect(Buffer.compare(bytes, copy)).toBe(0)
  expect(reuses()).toBeGreaterThan(batches / 3)
})

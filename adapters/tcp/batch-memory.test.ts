/** The way of large batches through a broker, from socket to socket, while their memory serves one after the other. */
import { createBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { connect } from 'ratatoskr/client'
import { expect, it, onTestFinished, vi } from 'vitest'
import { tcpTransport } from './index.ts'

const payloadBytes = 150_000
const batches = 120

/** The same bytes all through, which tell its place: each message shows whether it is whole. */
const payloadOf = (place: number): Uint8Array => new Uint8Array(payloadBytes).fill(place)

it.each([
  ['tcp', 0],
  ['ws', 1],
])('what is read and kept by some stays as it is, while others give it back (%s)', async (_, transport) => {
  const reused = vi.spyOn(ArrayBuffer.prototype, 'transfer')
  onTestFinished(() => reused.mockRestore())
  const broker = await createBroker({
    storage: memoryStorage(),
    transports: [tcpTransport({ port: 0 }), webSocketTransport({ port: 0 })],
    retentionIntervalMs: 5,
  })
  onTestFinished(() => broker.stop())
  await broker.start()
  await broker.createTopic('blobs', { retentionBytes: 20 * payloadBytes, segmentBytes: 200_000 })
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
  expect(reused.mock.calls.length).toBeGreaterThan(batches / 3)
})

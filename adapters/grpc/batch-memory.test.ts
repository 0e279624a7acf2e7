/**
 * What a reader has not taken stays as it is, while the memory of the batches around it serves others: the topic lets go of its
 * batches long before the windows of slow readers open. The way from socket to socket is tested beside TCP's.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2'
import { connect } from 'ratatoskr/client'
import { metricsPlugin } from 'ratatoskr/plugins/metrics'
import * as proto from 'ratatoskr/proto'
import { expect, it, onTestFinished, vi } from 'vitest'
import { Harness } from './testing/harness.ts'

const payloadBytes = 150_000
const { consume } = proto.MessageServiceService

/** The same bytes all through, which tell its place. */
const payloadOf = (place: number): Buffer => Buffer.alloc(payloadBytes, place)

/** Opens a subscription whose windows let a part of the first batch through, until it is read. */
async function slowReader(target: string): Promise<[ClientHttp2Session, ClientHttp2Stream]> {
  const session = connectHttp2(`http://${target}`).on('error', () => undefined)
  onTestFinished(() => session.destroy())
  const headers = {
    ':method': 'POST',
    ':path': consume.path,
    'content-type': 'application/grpc',
    te: 'trailers',
  }
  const stream = session.request(headers).on('error', () => undefined)
  const open = {
    topic: 'blobs',
    group: '',
    member: '',
    from: { edge: proto.Edge.EDGE_EARLIEST },
    partitions: [],
    credit: { bytes: 100_000_000, messages: 0 },
    format: proto.DeliveryFormat.DELIVERY_FORMAT_UNSPECIFIED,
    overflow: undefined,
  }
  for (const part of proto.frameOf(
    proto.ConsumeRequest.encode({ open, credit: undefined, commit: undefined }).finish(),
  ))
    stream.write(part)
  await new Promise((resolve) => stream.once('response', resolve))
  return [session, stream]
}

/** Reads so many deliveries. @returns what each begins with, and whether its payload is whole */
async function read(stream: ClientHttp2Stream, count: number): Promise<[number, boolean][]> {
  const seen: [number, boolean][] = []
  const reader = new proto.FrameReader(10_000_000, (message) => {
    const { delivery } = consume.responseDeserialize(Buffer.from(message))
    if (delivery === undefined) return
    const batches = Buffer.from(delivery.batches)
    seen.push([delivery.fromOffset, batches.includes(payloadOf(delivery.fromOffset))])
  })
  stream.on('data', (chunk: Uint8Array) => reader.push(chunk))
  await expect.poll(() => seen.length, { interval: 5, timeout: 5_000 }).toBeGreaterThanOrEqual(count)
  return seen
}

it('stays what it was for readers whose windows are closed, and is never used again when they go', async () => {
  const reused = vi.spyOn(ArrayBuffer.prototype, 'transfer')
  onTestFinished(() => reused.mockRestore())
  const harness = await Harness.start({ broker: { plugins: [metricsPlugin()], retentionIntervalMs: 5 } })
  onTestFinished(() => harness.stop())
  await harness.broker.createTopic('blobs', { retentionBytes: 4 * payloadBytes, segmentBytes: 200_000 })
  const slow = await Promise.all(Array.from({ length: 4 }, () => slowReader(harness.target)))
  const client = await connect(`grpc://${harness.target}`)
  onTestFinished(() => client.close())
  for (let place = 0; place < 60; place++) await client.publish('blobs', payloadOf(place))
  await expect.poll(() => reused.mock.calls.length, { interval: 5 }).toBeGreaterThan(10)
  const [[, first], [, cut], [gone], [, last]] = slow
  const whole = await read(first, 2)
  expect(whole.slice(0, 2)).toEqual([
    [0, true],
    [1, true],
  ])
  cut.close()
  gone.destroy()
  for (let place = 60; place < 120; place++) await client.publish('blobs', payloadOf(place))
  const later = await read(last, 2)
  expect(later.slice(0, 2)).toEqual([
    [0, true],
    [1, true],
  ])
  expect([...whole, ...later].every(([, isWhole]) => isWhole)).toBe(true)
})

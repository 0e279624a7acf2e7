/** Clients that mean no good: each gets an answer by code, or loses its connection, and the others notice nothing. */
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2'
import * as proto from 'ratatoskr/proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { batchOf, call, Harness } from './testing/harness.ts'

const path = '/ratatoskr.v1.QueueService/Consume'
const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' }
const open = framed({
  open: {
    topic: 'orders',
    group: 'g',
    member: '',
    from: undefined,
    config: undefined,
    autoAck: false,
    begins: false,
    credit: { messages: 10 },
    format: 1,
  },
})

let harness: Harness
let hostile: ClientHttp2Session

beforeEach(async () => {
  harness = await Harness.start()
  hostile = connectHttp2(`http://${harness.target}`)
  hostile.on('error', () => undefined)
  await call(harness.client(), proto.TopicServiceService.createTopic, { topic: 'orders', config: undefined })
})

afterEach(async () => {
  hostile.destroy()
  await harness.stop()
})

function framed(request: proto.QueueServiceConsumeRequest): Buffer {
  return framedBytes(proto.QueueServiceConsumeRequest.encode(request).finish())
}

function framedBytes(bytes: Uint8Array): Buffer {
  const frame = Buffer.alloc(5 + bytes.length)
  frame.writeUInt32BE(bytes.length, 1)
  frame.set(bytes, 5)
  return frame
}

const others = () => call(harness.client(), proto.TopicServiceService.getTopic, { topic: 'orders' })

it('streams that are reset as soon as they are opened leave nothing behind', async () => {
  let sent = 0
  const gone = new Promise<void>((resolve) => hostile.once('close', resolve))
  for (let round = 0; round < 100 && !hostile.destroyed && !hostile.closed; round++) {
    for (let i = 0; i < 100 && !hostile.destroyed && !hostile.closed; i++) {
      const stream = hostile.request(headers)
      stream.on('error', () => undefined)
      stream.write(open)
      stream.close(8)
      sent++
    }
    await others()
  }
  expect(sent).toBeGreaterThan(100)
  hostile.destroy()
  await gone
  while (harness.broker.stats().subscriptions > 0) await others()
  expect((await others()).topic?.name).toBe('orders')
})

it('settlements with leases that never were are refused one by one', async () => {
  const stream = hostile.request(headers)
  const chunks: Buffer[] = []
  let came = () => {}
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    came()
  })
  stream.write(open)
  const count = 10_000
  for (let i = 0; i < count; i++) {
    const wrong = { action: 1, partition: 0, lease: 2 ** 40 + i, from: i, to: i + 1, reason: '' } as const
    stream.write(framed({ settle: { correlationId: i, settlements: [wrong] } }))
  }
  const codes = new Map<string | undefined, number>()
  let rest: Buffer = Buffer.alloc(0)
  for (let answered = 0; answered < count; ) {
    if (chunks.length === 0) {
      await new Promise<void>((resolve) => {
        came = resolve
      })
    }
    rest = Buffer.concat([rest, ...chunks.splice(0)])
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1)
      const { settled } = proto.QueueServiceConsumeResponse.decode(rest.subarray(5, end))
      rest = rest.subarray(end)
      if (settled === undefined) continue
      const code = settled.results[0]?.error?.code
      codes.set(code, (codes.get(code) ?? 0) + 1)
      answered++
    }
  }
  expect([...codes]).toEqual([['RTK_LEASE_LOST', count]])
  expect((await others()).topic?.name).toBe('orders')
})

it('a header block of a megabyte ends its own connection', async () => {
  const large = connectHttp2(`http://${harness.target}`, { maxSendHeaderBlockLength: 4_000_000 })
  const gone = new Promise<void>((resolve) => large.once('close', resolve))
  large.on('error', () => undefined)
  const stream = large.request({ ...headers, 'x-large': 'x'.repeat(1_000_000) })
  stream.on('error', () => undefined)
  await gone
  expect((await others()).topic?.name).toBe('orders')
})

describe('a client that does not take its answers', () => {
  let unread: ClientHttp2Session

  beforeEach(() => {
    unread = connectHttp2(`http://${harness.target}`, {
      settings: { initialWindowSize: 0 },
      maxSessionMemory: 1_000,
    })
    unread.on('error', () => undefined)
  })

  afterEach(() => unread.destroy())

  const request = (of: string) => unread.request({ ...headers, ':path': of }).on('error', () => undefined)

  /** A fetch: its stream, and the code that it is refused with, or `undefined` when it is answered. */
  function fetching() {
    const stream = request(proto.MessageServiceService.fetch.path)
    const code = new Promise<unknown>((resolve) => {
      stream.once('response', (sent) => resolve(sent['ratatoskr-code']))
    })
    const asked = {
      topic: 'orders',
      partition: 0,
      offset: 0,
      format: proto.DeliveryFormat.DELIVERY_FORMAT_BATCHES,
    }
    stream.end(framedBytes(proto.FetchRequest.encode(asked).finish()))
    return { stream, code }
  }

  it('may have so many fetches in flight, and more when it takes some', async () => {
    const { publishRecordBatch } = proto.MessageServiceService
    const batches = batchOf(new Uint8Array(10_000))
    await call(harness.client(), publishRecordBatch, {
      topic: 'orders',
      partition: 0,
      batches,
      durability: 0,
    })
    const first = Array.from({ length: 64 }, fetching)
    expect(new Set(await Promise.all(first.map(({ code }) => code)))).toEqual(new Set([undefined]))
    const more = Array.from({ length: 100 }, fetching)
    expect(new Set(await Promise.all(more.map(({ code }) => code)))).toEqual(new Set(['RTK_OVERLOADED']))
    expect((await others()).topic?.name).toBe('orders')
    const gone = first
      .slice(0, 2)
      .map(({ stream }) => new Promise((resolve) => stream.once('close', resolve)))
    for (const { stream } of first.slice(0, 2)) stream.close(8)
    await Promise.all(gone)
    const again = Array.from({ length: 3 }, fetching)
    expect(await Promise.all(again.map(({ code }) => code))).toEqual([undefined, undefined, 'RTK_OVERLOADED'])
  })

  it('loses a stream that keeps too much waiting behind requests without room for answers', async () => {
    const durability = proto.Durability.DURABILITY_UNSPECIFIED
    const batches = batchOf('a')
    const one = proto.frameProduceRequest({
      correlationId: 1,
      topic: 'orders',
      partition: 0,
      durability,
      batches,
    })
    const asked = Buffer.concat(Array.from({ length: 1_024 }, () => one).flat())
    const rest = Buffer.alloc(8_000_000)
    const code = await new Promise<unknown>((resolve) => {
      for (let i = 0; i < 20; i++) {
        const stream = request(proto.MessageServiceService.produce.path)
        stream.once('close', () => resolve(stream.rstCode))
        stream.write(asked)
        stream.write(rest)
      }
    })
    expect(code).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    expect((await others()).topic?.name).toBe('orders')
  })
})

/** Clients that mean no good: each gets an answer by code, or loses its connection, and the others notice nothing. */
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import * as proto from 'ratatoskr/proto'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { call, Harness } from './testing/harness.ts'

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
  const bytes = proto.QueueServiceConsumeRequest.encode(request).finish()
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

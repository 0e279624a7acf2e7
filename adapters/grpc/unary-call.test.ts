/** Unary calls as they come from clients of all kinds, and from strangers: bodies, deadlines, compression, cancelling. */
import http2 from 'node:http2'
import { deflateSync, gzipSync } from 'node:zlib'
import { compressionAlgorithms, status } from '@grpc/grpc-js'
import * as proto from 'ratatoskr/proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { batchOf, call, Harness } from './testing/harness.ts'

const MIB = 1024 * 1024
const { publish, fetch, publishRecordBatch } = proto.MessageServiceService
const { listTopics, getTopic } = proto.TopicServiceService

let harness: Harness
let session: http2.ClientHttp2Session

beforeEach(async () => {
  harness = await Harness.start()
  session = http2.connect(`http://${harness.target}`)
  session.on('error', () => undefined)
  await call(harness.client(), proto.TopicServiceService.createTopic, { topic: 'orders', config: undefined })
})

afterEach(async () => {
  session.destroy()
  await harness.stop()
})

const framed = (message: Uint8Array, flag = 0): Buffer => {
  const frame = Buffer.alloc(5 + message.length, flag)
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, 5)
  return frame
}

const publishOf = (payload: Uint8Array): Buffer =>
  publish.requestSerialize({ topic: 'orders', message: { payload, headers: [] }, durability: 0 })

interface Ended {
  readonly httpStatus: number
  readonly code: number
  readonly headers: http2.IncomingHttpHeaders
  readonly body: Buffer
}

/** A call whose bytes are a test's. */
function begin(path: string, headers: http2.OutgoingHttpHeaders = {}) {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  })
  let came: http2.IncomingHttpHeaders = {}
  const chunks: Buffer[] = []
  stream
    .on('response', (sent) => {
      came = { ...came, ...sent }
    })
    .on('trailers', (sent) => {
      came = { ...came, ...sent }
    })
    .on('data', (chunk: Buffer) => chunks.push(chunk))
    .on('error', () => undefined)
  const ended = new Promise<Ended>((resolve) => {
    const tell = (): void =>
      resolve({
        httpStatus: Number(came[':status']),
        code: Number(came['grpc-status']),
        headers: came,
        body: Buffer.concat(chunks),
      })
    stream.once('close', tell)
    stream.once('end', () => setImmediate(tell)) // trailers come with it
  })
  return { stream, ended }
}

function send(path: string, body: Uint8Array, headers: http2.OutgoingHttpHeaders = {}): Promise<Ended> {
  const { stream, ended } = begin(path, headers)
  stream.end(body)
  return ended
}

const others = () => call(harness.client(), getTopic, { topic: 'orders' })

describe('a request', () => {
  it('comes in any pieces', async () => {
    const bytes = framed(publishOf(Buffer.alloc(300_000, 7)))
    const { stream, ended } = begin(publish.path)
    let at = 0
    for (const length of [1, 3, 2, 40_000, 1, 200_000]) {
      stream.write(bytes.subarray(at, at + length))
      at += length
      await new Promise(setImmediate)
    }
    stream.end(bytes.subarray(at))
    const { code, body } = await ended
    expect(code).toBe(status.OK)
    const { receipt } = publish.responseDeserialize(body.subarray(5))
    expect(receipt).toMatchObject({ partition: 0, offset: 0 })
    const asked = {
      topic: 'orders',
      partition: 0,
      offset: 0,
      format: proto.DeliveryFormat.DELIVERY_FORMAT_MESSAGES,
    }
    const { batches } = await call(harness.client(), fetch, asked)
    expect(Buffer.from(batches?.messages[0].payload ?? [])).toEqual(Buffer.alloc(300_000, 7))
  })

  it('may be of any size up to the limit, each answered by itself', async () => {
    for (const size of [0, 1, 2_000, 70_000, 1_000_000, 7 * MIB]) {
      const { code } = await send(publish.path, framed(publishOf(Buffer.alloc(size))))
      expect(code).toBe(status.OK)
    }
  })

  it.each<[string, (message: Buffer) => Buffer]>([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ])('may be compressed by %s', async (encoding, compress) => {
    const body = framed(compress(publishOf(Buffer.alloc(100_000, 1))), 1).fill(1, 0, 1)
    const { code } = await send(publish.path, body, { 'grpc-encoding': encoding })
    expect(code).toBe(status.OK)
    // Not every message of a call that may be compressed is.
    const plain = await send(publish.path, framed(publishOf(Buffer.alloc(1))), { 'grpc-encoding': encoding })
    expect(plain.code).toBe(status.OK)
  })

  it('comes compressed from grpc-js, too', async () => {
    const client = harness.client({ 'grpc.default_compression_algorithm': compressionAlgorithms.gzip })
    const message = { payload: Buffer.alloc(50_000, 1), headers: [] }
    const { receipt } = await call(client, publish, { topic: 'orders', message, durability: 0 })
    expect(receipt).toMatchObject({ offset: 0 })
  })
})

describe('what is no request', () => {
  const some = publishOf(Buffer.alloc(3))
  const two = Buffer.concat([framed(some), framed(some)])
  const bomb = framed(gzipSync(Buffer.alloc(64 * MIB)), 1).fill(1, 0, 1)

  it.each<[string, Uint8Array, http2.OutgoingHttpHeaders, number]>([
    ['nothing', Buffer.alloc(0), {}, status.INTERNAL],
    ['a prefix cut short', Buffer.alloc(4), {}, status.INTERNAL],
    ['a message cut short', framed(some).subarray(0, -1), {}, status.INTERNAL],
    ['two messages', two, {}, status.INTERNAL],
    ['more than a message', Buffer.concat([framed(some), Buffer.of(0)]), {}, status.INTERNAL],
    ['a message that begins with 2', framed(some, 2), {}, status.INTERNAL],
    ['4 GiB announced', Buffer.of(0, 0xff, 0xff, 0xff, 0xff, 1), {}, status.RESOURCE_EXHAUSTED],
    ['compressed without an encoding', framed(gzipSync(some)).fill(1, 0, 1), {}, status.INTERNAL],
    ['noise instead of gzip', framed(some).fill(1, 0, 1), { 'grpc-encoding': 'gzip' }, status.INTERNAL],
    ['a bomb', bomb, { 'grpc-encoding': 'gzip' }, status.RESOURCE_EXHAUSTED],
    ['noise', framed(Buffer.alloc(9, 0xff)), {}, status.INVALID_ARGUMENT],
    ['a timeout without a unit', framed(some), { 'grpc-timeout': '5' }, status.INTERNAL],
    ['a timeout of 9 digits', framed(some), { 'grpc-timeout': '123456789m' }, status.INTERNAL],
    ['a timeout below nothing', framed(some), { 'grpc-timeout': '-1S' }, status.INTERNAL],
  ])('%s is answered', async (_, body, headers, code) => {
    expect(await send(publish.path, body, headers)).toMatchObject({ httpStatus: 200, code })
    expect((await others()).topic?.name).toBe('orders')
  })

  it('an encoding that is not known is told those that are', async () => {
    const { code, headers } = await send(publish.path, framed(some), { 'grpc-encoding': 'br' })
    expect(code).toBe(status.UNIMPLEMENTED)
    expect(headers['grpc-accept-encoding']).toBe('identity,gzip,deflate')
  })

  it.each(['text/html', 'application/grpc-web', 'application/grpc+json', ''])(
    'of the type %j',
    async (type) => {
      const { httpStatus, code } = await send(publish.path, framed(some), { 'content-type': type })
      expect([httpStatus, code]).toEqual([415, Number.NaN])
    },
  )

  it.each(['/', '/ratatoskr.v1.MessageService/', '/ratatoskr.v1.MessageService/publish', '/__proto__'])(
    'for the method %s',
    async (path) => {
      expect(await send(path, framed(some))).toMatchObject({ code: status.UNIMPLEMENTED })
    },
  )

  it('a failure is told in the headers alone, its text by its bytes', async () => {
    const { headers, body } = await send(getTopic.path, framed(getTopic.requestSerialize({ topic: 'größe' })))
    expect(body).toHaveLength(0)
    expect(headers['grpc-message']).toMatch(/^[ -~]+$/)
    expect(headers['grpc-message']).toContain('%22')
    expect(headers['ratatoskr-code']).toBe('RTK_TOPIC_NAME_INVALID')
  })
})

describe('a call', () => {
  const waiting = { topic: 'orders', partition: 0, offset: 0, waitMs: 60_000, format: 0 as const }
  const askedFor = framed(fetch.requestSerialize(waiting))

  it.each(['50m', '50000u', '40000000n'])('ends with its deadline of %s', async (timeout) => {
    expect(await send(fetch.path, askedFor, { 'grpc-timeout': timeout })).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    })
  })

  it('ends with its deadline also when its request is not all there', async () => {
    const { stream, ended } = begin(publish.path, { 'grpc-timeout': '50m' })
    stream.write(framed(publishOf(Buffer.alloc(9))).subarray(0, 9))
    expect(await ended).toMatchObject({ code: status.DEADLINE_EXCEEDED })
  })

  it('with a deadline of years is answered', async () => {
    const request = framed(listTopics.requestSerialize({}))
    expect(await send(listTopics.path, request, { 'grpc-timeout': '99999999H' })).toMatchObject({ code: 0 })
  })

  it('that is cancelled waits for nothing any more', async () => {
    const calls = Array.from({ length: 64 }, () => {
      const { stream, ended } = begin(fetch.path)
      stream.end(askedFor)
      return { stream, ended }
    })
    await others()
    for (const { stream } of calls) stream.close(http2.constants.NGHTTP2_CANCEL)
    await Promise.all(calls.map(({ ended }) => ended))
    // There may be 64: those that were cancelled are not among them.
    const next = begin(fetch.path, { 'grpc-timeout': '50m' })
    next.stream.end(askedFor)
    expect(await next.ended).toMatchObject({ code: status.DEADLINE_EXCEEDED })
  })
})

describe('bodies', () => {
  const half = (size: number): Buffer => {
    const frame = Buffer.alloc(5 + Math.ceil(size / 2))
    frame.writeUInt32BE(size, 1)
    return frame
  }

  it('that are sent by half are bounded together, and free what they held when they end', async () => {
    const calls = Array.from({ length: 40 }, () => {
      const { stream, ended } = begin(publishRecordBatch.path)
      stream.write(half(8 * MIB))
      return { stream, ended }
    })
    const codes = calls.map(
      ({ stream }) =>
        new Promise((resolve) => stream.once('response', (sent) => resolve(sent['ratatoskr-code']))),
    )
    expect(await Promise.race(codes)).toBe('RTK_OVERLOADED')
    for (const { stream } of calls) stream.close(http2.constants.NGHTTP2_CANCEL)
    await Promise.all(calls.map(({ ended }) => ended))
    const batches = batchOf(new Uint8Array(4 * MIB))
    const body = framed(
      publishRecordBatch.requestSerialize({ topic: 'orders', partition: 0, batches, durability: 0 }),
    )
    for (let i = 0; i < 20; i++) expect(await send(publishRecordBatch.path, body)).toMatchObject({ code: 0 })
  })

  it('that are announced and never sent hold nothing up', async () => {
    for (let i = 0; i < 100; i++) begin(publish.path).stream.write(Buffer.of(0, 0, 0x40, 0, 0))
    expect(await send(publish.path, framed(publishOf(Buffer.alloc(9))))).toMatchObject({ code: 0 })
  })

  it('of other connections are their own', async () => {
    for (let i = 0; i < 40; i++) begin(publishRecordBatch.path).stream.write(half(8 * MIB))
    expect((await others()).topic?.name).toBe('orders')
  })
})

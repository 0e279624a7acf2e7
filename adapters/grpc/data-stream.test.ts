/** The streams of the data plane as they come from clients of all kinds, and from strangers. */
import http2 from 'node:http2'
import { gzipSync } from 'node:zlib'
import { status } from '@grpc/grpc-js'
import * as proto from 'ratatoskr/proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { batchOf, call, Harness, platform } from './testing/harness.ts'

const path = '/ratatoskr.v1.MessageService/Produce'
const plainHeaders = {
  ':method': 'POST',
  ':path': path,
  'content-type': 'application/grpc',
  te: 'trailers',
}

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

const frameOf = (correlationId: number, batches = batchOf('a', 'b')): Buffer =>
  Buffer.concat(
    proto.frameProduceRequest({ correlationId, topic: 'orders', partition: 0, durability: 0, batches }),
  )

/** A stream whose bytes are a test's, what it answers, and what it ends with. */
function open(headers: http2.OutgoingHttpHeaders = {}) {
  const stream = session.request({ ...plainHeaders, ...headers }, { endStream: false })
  const answers: proto.ProduceResponse[] = []
  let wake = () => {}
  const reader = new proto.FrameReader(1_000_000, (bytes) => {
    answers.push(proto.ProduceResponse.decode(bytes))
    wake()
  })
  let code = Number.NaN
  const note = (sent: http2.IncomingHttpHeaders) => {
    if (sent['grpc-status'] !== undefined) code = Number(sent['grpc-status'])
    else if (sent[':status'] !== undefined && Number(sent[':status']) !== 200) code = Number(sent[':status'])
  }
  stream
    .on('response', note)
    .on('trailers', note)
    .on('error', () => undefined)
  stream.on('data', (chunk: Buffer) => reader.push(chunk))
  const ended = new Promise<number>((resolve) => stream.once('end', () => setImmediate(() => resolve(code))))
  const answered = async (count: number): Promise<readonly proto.ProduceResponse[]> => {
    while (answers.length < count) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    return answers
  }
  return { stream, answered, ended }
}

describe('requests', () => {
  it('come in any pieces', async () => {
    const payload = platform.random.fill(new Uint8Array(300_000))
    const wire = Buffer.concat([frameOf(1), frameOf(2, batchOf(payload)), frameOf(3), frameOf(4)])
    const { stream, answered, ended } = open()
    let at = 0
    for (const length of [1, 3, 7, 40_000, 1, 100_000]) {
      stream.write(wire.subarray(at, at + length))
      at += length
    }
    stream.end(wire.subarray(at))
    const answers = await answered(4)
    expect(answers.map(({ correlationId, baseOffset }) => [correlationId, baseOffset])).toEqual([
      [1, 0],
      [2, 2],
      [3, 3],
      [4, 5],
    ])
    expect(await ended).toBe(status.OK)
    const fetch = { topic: 'orders', partition: 0, offset: 2, bytesMax: 1, waitMs: 0, format: 1 } as const
    const { batches } = await call(harness.client(), proto.MessageServiceService.fetch, fetch)
    expect(Buffer.from(batches?.batches ?? []).includes(payload)).toBe(true)
  })

  it('with a deadline are served until it passes', async () => {
    const { stream, answered, ended } = open({ 'grpc-timeout': '300m' })
    stream.write(frameOf(1))
    expect(await answered(1)).toMatchObject([{ correlationId: 1, recordCount: 2 }])
    expect(await ended).toBe(status.DEADLINE_EXCEEDED)
  })

  it('may be compressed', async () => {
    const { stream, answered, ended } = open({ 'grpc-encoding': 'gzip' })
    const zipped = gzipSync(frameOf(1).subarray(5))
    const prefix = Buffer.from([1, 0, 0, 0, 0])
    prefix.writeUInt32BE(zipped.length, 1)
    stream.end(Buffer.concat([prefix, zipped]))
    expect(await answered(1)).toMatchObject([{ correlationId: 1, recordCount: 2 }])
    expect(await ended).toBe(status.OK)
  })
})

describe('what is no request', () => {
  it.each<[string, http2.OutgoingHttpHeaders, Uint8Array, number]>([
    ['a compressed message without an encoding', {}, new Uint8Array([1, 0, 0, 0, 1, 0]), status.INTERNAL],
    ['a message that begins with 7', {}, new Uint8Array([7, 0, 0, 0, 1, 0]), status.INTERNAL],
    ['GET', { ':method': 'GET' }, new Uint8Array(0), 405],
    ['a length of 2 GiB', {}, new Uint8Array([0, 0x7f, 0xff, 0xff, 0xff]), status.RESOURCE_EXHAUSTED],
    ['a message of noise', {}, new Uint8Array([0, 0, 0, 0, 2, 0xff, 0xff]), status.INVALID_ARGUMENT],
    ['a message cut short', {}, new Uint8Array([0, 0, 0, 0, 9, 1]), status.INTERNAL],
    ['a prefix cut short', {}, new Uint8Array([0, 0]), status.INTERNAL],
    ['nothing at all', {}, new Uint8Array(0), status.OK],
    ['another content type', { 'content-type': 'text/html' }, new Uint8Array(0), 415],
    ['an unknown encoding', { 'grpc-encoding': 'lzma' }, new Uint8Array([1, 0, 0, 0, 1, 0]), 12],
  ])('%s is answered', async (_, headers, body, code) => {
    const { stream, ended } = open(headers)
    stream.end(body)
    expect(await ended).toBe(code)
    expect(await (await startedWell()).ended).toBe(status.OK)
  })

  async function startedWell() {
    const good = open()
    good.stream.end(frameOf(1))
    await good.answered(1)
    return good
  }

  it('ends a stream whose client goes on sending', async () => {
    const { stream, ended } = open()
    const closed = new Promise((resolve) => stream.once('close', resolve))
    stream.write(new Uint8Array([0, 0xff, 0xff, 0xff, 0xff]))
    for (let i = 0; i < 64; i++) stream.write(Buffer.alloc(100_000))
    expect(await ended).toBe(status.RESOURCE_EXHAUSTED)
    stream.end()
    await closed
    expect(await (await startedWell()).ended).toBe(status.OK)
  })

  it('that is announced and never sent holds nothing up', async () => {
    for (let i = 0; i < 100; i++) open().stream.write(new Uint8Array([0, 0, 0xff, 0xff, 0xff]))
    expect(await (await startedWell()).ended).toBe(status.OK)
  })
})

/** Calls over gRPC to something that is no broker: what a proxy, a web server or a broken connection does to them. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { setImmediate as soon } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { platform } from '../../../adapters/grpc/testing/harness.ts'
import * as proto from '../../../proto/index.ts'
import { GrpcChannel } from './grpc-channel.ts'

const { getTopic } = proto.TopicServiceService
const { consume } = proto.MessageServiceService

let server: http2.Http2Server
let channel: GrpcChannel
let answer: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void
const sessions = new Set<http2.ServerHttp2Session>()

beforeEach(async () => {
  server = http2.createServer()
  server.on('session', (session) => sessions.add(session))
  server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
    stream.on('error', () => undefined).resume()
    answer(stream, headers)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = new URL(`grpc://127.0.0.1:${(server.address() as AddressInfo).port}`)
  channel = await GrpcChannel.open(url, { credentials: { kind: 'none' }, platform, frameBytesMax: 1_000 })
})

afterEach(async () => {
  await channel.close()
  for (const session of sessions) session.destroy()
  sessions.clear()
  server.close()
})

const asked = (): Promise<unknown> =>
  channel.unary(getTopic, { topic: 'orders' }).then(
    () => 'answered',
    (error) => error,
  )

/** Answers with a message of so many bytes, announced or sent, and OK. */
function message(stream: http2.ServerHttp2Stream, bytes: Uint8Array): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': 0 }))
  stream.end(bytes)
}

describe('a call', () => {
  it.each<[string, typeof answer, object | string]>([
    [
      'refused by a proxy',
      (stream) => stream.respond({ ':status': 503 }, { endStream: true }),
      { code: 'RTK_DISCONNECTED', message: expect.stringContaining('503') },
    ],
    [
      'that must log in',
      (stream) => stream.respond({ ':status': 401 }, { endStream: true }),
      { code: 'RTK_UNAUTHENTICATED' },
    ],
    [
      'answered by a web server',
      (stream) => {
        stream.respond({ ':status': 404, 'content-type': 'text/html' })
        stream.end('<html>'.repeat(1_000))
      },
      { code: 'RTK_NOT_SUPPORTED' },
    ],
    ['that is reset', (stream) => stream.close(2), { code: 'RTK_DISCONNECTED' }],
    ['that is cancelled', (stream) => stream.close(8), { code: 'RTK_DISCONNECTED' }],
    ['whose connection breaks', (stream) => stream.session?.destroy(), { code: 'RTK_DISCONNECTED' }],
    [
      'that ends without a status',
      (stream) => {
        stream.respond({ ':status': 200 })
        stream.end()
      },
      { code: 'RTK_DISCONNECTED' },
    ],
    [
      'with a status at once',
      (stream) =>
        stream.respond(
          { ':status': 200, 'grpc-status': 3, 'grpc-message': 'Gr%C3%B6%C3%9Fe %zz' },
          { endStream: true },
        ),
      { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining('Gr%C3%B6%C3%9Fe %zz') },
    ],
    [
      'with a status whose text is escaped',
      (stream) =>
        stream.respond(
          { ':status': 200, 'grpc-status': 3, 'grpc-message': 'Gr%C3%B6%C3%9Fe' },
          { endStream: true },
        ),
      { message: expect.stringContaining('Größe') },
    ],
    ['answered with nothing', (stream) => message(stream, new Uint8Array(0)), { code: 'RTK_INTERNAL' }],
    [
      'answered with noise',
      (stream) => message(stream, new Uint8Array([0, 0, 0, 0, 2, 0xff, 0xff])),
      { code: 'RTK_INTERNAL' },
    ],
    [
      'whose answer is too large',
      (stream) => message(stream, new Uint8Array([0, 0xff, 0, 0, 0])),
      { code: 'RTK_BATCH_TOO_LARGE' },
    ],
    [
      'whose answer is compressed',
      (stream) => message(stream, new Uint8Array([1, 0, 0, 0, 1, 0])),
      { code: 'RTK_INTERNAL' },
    ],
    ['answered well', (stream) => message(stream, new Uint8Array(5)), 'answered'],
  ])('%s is told so', async (_, how, outcome) => {
    answer = how
    if (typeof outcome === 'string') expect(await asked()).toBe(outcome)
    else expect(await asked()).toMatchObject(outcome)
  })

  it('that waits for the broker ends with it, and then the channel', async () => {
    answer = (stream) => {
      stream.session?.close()
      setTimeout(() => message(stream, new Uint8Array(5)), 20)
    }
    expect(await asked()).toBe('answered')
    expect(await channel.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect(await asked()).toMatchObject({ code: 'RTK_CLOSED' })
  })

  it('that nobody waits for any more is cancelled at the broker', async () => {
    const codes: number[] = []
    answer = (stream) => stream.once('close', () => codes.push(stream.rstCode))
    const controller = new AbortController()
    const asking = channel.unary(getTopic, { topic: 'orders' }, controller.signal)
    asking.catch(() => undefined)
    await soon()
    controller.abort()
    await expect(asking).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    await expect.poll(() => codes, { interval: 5 }).toEqual([8])
  })
})

describe('a stream', () => {
  it('ends with what cannot be read', async () => {
    answer = (stream) => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.write(new Uint8Array([0, 0, 0, 0, 2, 0xff, 0xff]))
    }
    const ended = new Promise((resolve) => {
      channel.stream(consume, { response: () => expect.unreachable(), ended: resolve })
    })
    expect(await ended).toMatchObject({ code: 'RTK_INTERNAL' })
  })

  it('that the broker has ended takes no more, and holds nothing back', async () => {
    const closed: number[] = []
    answer = (stream) => {
      stream.once('close', () => closed.push(stream.rstCode))
      stream.respond({ ':status': 200, 'grpc-status': 14 }, { endStream: true })
    }
    const ended = Promise.withResolvers<unknown>()
    const stream = channel.stream(consume, {
      response: () => expect.unreachable(),
      ended: ended.resolve,
    })
    stream.write(proto.frameOf(new Uint8Array(100)))
    expect(await ended.promise).toMatchObject({ code: 'RTK_DISCONNECTED' })
    stream.write(proto.frameOf(new Uint8Array(100)))
    stream.end()
    await expect.poll(() => closed.length, { interval: 5 }).toBe(1)
  })
})

/** The connections of one server beside each other. */
import net from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { CallStream } from './call-stream.ts'
import type { Connections } from './connections.ts'
import { flag, frameOf, frameType } from './http2/frames.ts'
import { Http2Connections } from './http2-server.ts'
import { RawHttp2, requestBlock } from './testing/raw-http2.ts'

let server: net.Server
let http2: Http2Connections
let port: number
let serve: (stream: CallStream) => void

beforeEach(async () => {
  http2 = new Http2Connections(
    {
      limits: { subscriptionsPerSessionMax: 0 } as never,
      tls: undefined,
      keepaliveIntervalMs: 60_000,
      keepaliveTimeoutMs: 60_000,
    },
    { of: () => undefined } as unknown as Connections,
    (stream) => serve(stream),
  )
  server = net.createServer((socket) => {
    socket.on('error', () => undefined)
    http2.add(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as net.AddressInfo).port
})

afterEach(() => {
  http2.destroy()
  server.close()
})

it('who sends more than is handled does not keep the event loop for itself', async () => {
  let turns = 0
  let ticking = true
  const tick = (): void => {
    turns++
    if (ticking) setImmediate(tick)
  }
  const inTurn = new Map<number, number>()
  let bytes = 0
  serve = (stream) =>
    stream.open({
      data: (chunk) => {
        bytes += chunk.length
        inTurn.set(turns, (inTurn.get(turns) ?? 0) + chunk.length)
        const until = performance.now() + chunk.length / 16_384
        while (performance.now() < until);
      },
      halfClosed: () => undefined,
      closed: () => undefined,
    })
  const client = await RawHttp2.connect(port)
  client.send(frameType.HEADERS, flag.END_HEADERS, 1, requestBlock('/a'))
  expect(await client.lives()).toBe(true)
  const frame = frameOf(frameType.DATA, 0, 1, Buffer.alloc(16_384))
  client.write(...Array.from({ length: 256 }, () => frame))
  tick()
  await expect.poll(() => bytes, { interval: 5 }).toBe(256 * 16_384)
  ticking = false
  client.destroy()
  // A read at a time, and each takes more than its turn has.
  expect(Math.max(...inTurn.values())).toBeLessThanOrEqual(2 * 65_536)
})

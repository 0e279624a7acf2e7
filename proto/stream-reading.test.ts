/** A stream of HTTP/2 is read straight into its messages, and in pieces where that cannot be had, with the same outcome. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FrameReader, frameOf } from './message-frames.ts'
import { readStream } from './stream-reading.ts'

const messages = Array.from({ length: 200 }, (_, i) => Buffer.alloc((i * 7_919) % 50_000, i))

let server: http2.Http2Server
let client: http2.ClientHttp2Session

beforeEach(async () => {
  server = http2.createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await once(client, 'remoteSettings')
})

afterEach(() => {
  client.destroy()
  server.close()
})

/** Sends all messages to the server. */
async function sent(): Promise<http2.ServerHttp2Stream> {
  const coming = once(server, 'stream')
  const request = client.request({ ':method': 'POST' })
  request.on('error', () => undefined)
  for (const part of messages.flatMap(frameOf)) request.write(part)
  request.end()
  const [stream] = (await coming) as [http2.ServerHttp2Stream]
  stream.on('error', () => undefined)
  return stream
}

describe.each(['straight', 'in pieces'] as const)('read %s', (how) => {
  /** @param pausing pauses after each so many messages, and goes on later */
  async function read(stream: http2.Http2Stream, pausing: number): Promise<readonly Uint8Array[]> {
    const taken: Uint8Array[] = []
    const reader = new FrameReader(100_000, (message) => {
      taken.push(message)
      if (pausing === 0 || taken.length % pausing !== 0) return
      reader.pause()
      reading.pause()
      setImmediate(() => {
        reading.resume()
        reader.resume()
      })
    })
    const ended = once(stream, 'end')
    const reading = readStream(stream, reader, (take) => take(), how === 'straight')
    expect(stream.listenerCount('data')).toBe(how === 'straight' ? 0 : 1)
    await ended
    await expect.poll(() => taken.length, { interval: 5 }).toBe(messages.length)
    return taken
  }

  it.each([0, 1, 7])('every message comes, paused after each %d', async (pausing) => {
    const taken = await read(await sent(), pausing)
    expect(taken.every((message, i) => messages[i].equals(message))).toBe(true)
  })

  it('a stream that is destroyed within a message is left alone', async () => {
    const stream = await sent()
    let count = 0
    const reader = new FrameReader(100_000, () => {
      if (++count === 50) stream.destroy()
    })
    const closed = once(stream, 'close')
    const reading = readStream(stream, reader, (take) => count < 50 && take(), how === 'straight')
    await closed
    reading.pause()
    reading.resume()
    expect(count).toBe(50)
  })
})

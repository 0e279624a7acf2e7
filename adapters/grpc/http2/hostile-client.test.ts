/** Clients that only make work, frame by frame: how much of it a connection bears, and what its ordinary clients may still do. */
import { Duplex } from 'node:stream'
import { describe, expect, it, vi } from 'vitest'
import type { CallStream } from '../call-stream.ts'
import { requestBlock, settings, uint32 } from '../testing/raw-http2.ts'
import { Http2Connection } from './connection.ts'
import { http2Error } from './errors.ts'
import { flag, frameOf, frameType, preface } from './frames.ts'

const { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE } = frameType
const { END_STREAM, END_HEADERS } = flag
const whole = END_STREAM | END_HEADERS
const block = requestBlock('/a')

/** A connection whose calls never end by themselves, and what it has said. */
class Client {
  readonly streams: CallStream[] = []
  readonly #said: Buffer[] = []
  readonly #connection: Http2Connection

  constructor() {
    const socket = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        this.#said.push(chunk)
        done()
      },
    })
    this.#connection = new Http2Connection(socket, undefined, {
      streamsMax: 128,
      windowBytes: 1_000_000,
      answerHeaders: { ':status': 200 },
      serve: (stream) => {
        this.streams.push(stream)
        stream.open({ data: () => undefined, halfClosed: () => undefined, closed: () => undefined })
      },
    })
    this.send(preface, settings())
  }

  send(...frames: Uint8Array[]): void {
    this.#connection.came(Buffer.concat(frames))
  }

  /** How many frames of the type were said. */
  count(type: number): number {
    return this.#frames(type).length
  }

  /** The code that the connection was ended with. */
  get goodbye(): number | undefined {
    return this.#frames(GOAWAY).at(0)?.readUInt32BE(4)
  }

  #frames(type: number): Buffer[] {
    const said = Buffer.concat(this.#said)
    const payloads: Buffer[] = []
    for (let at = 0; at < said.length; ) {
      const end = at + 9 + said.readUIntBE(at, 3)
      if (said[at + 3] === type) payloads.push(said.subarray(at + 9, end))
      at = end
    }
    return payloads
  }
}

describe('a client that makes the broker cut its calls', () => {
  const begin = (id: number): Buffer => frameOf(HEADERS, END_HEADERS, id, block)
  const complete = (id: number): Buffer => frameOf(HEADERS, whole, id, block)

  it.each<[string, (id: number) => Buffer[]]>([
    ['a window that opens by nothing', (id) => [begin(id), frameOf(WINDOW_UPDATE, 0, id, uint32(0))]],
    ['a window that is too wide', (id) => [begin(id), frameOf(WINDOW_UPDATE, 0, id, uint32(2 ** 31 - 1))]],
    ['data behind the end', (id) => [complete(id), frameOf(DATA, END_STREAM, id, Buffer.alloc(5))]],
    ['headers behind the end', (id) => [complete(id), frameOf(HEADERS, whole, id, Buffer.alloc(0))]],
    ['another length', (id) => [frameOf(HEADERS, whole, id, requestBlock('/a', { 'content-length': '9' }))]],
    ['headers that are no request', (id) => [frameOf(HEADERS, whole, id, Buffer.of(0x83))]],
  ])('by %s is sent away after a thousand', (_, call) => {
    const client = new Client()
    for (let i = 0; i < 900; i++) client.send(...call(1 + 2 * i))
    expect(client.goodbye).toBeUndefined()
    for (let i = 900; i < 1_200; i++) client.send(...call(1 + 2 * i))
    expect(client.goodbye).toBe(http2Error.ENHANCE_YOUR_CALM)
    expect(client.count(RST_STREAM)).toBeLessThan(1_100)
    expect(client.streams.every(({ isOver }) => isOver)).toBe(true)
  })

  it('by more calls than it may have is sent away after a thousand', () => {
    const client = new Client()
    for (let i = 0; i < 1_000; i++) client.send(complete(1 + 2 * i))
    expect(client.goodbye).toBeUndefined()
    for (let i = 1_000; i < 1_400; i++) client.send(complete(1 + 2 * i))
    expect(client.goodbye).toBe(http2Error.ENHANCE_YOUR_CALM)
  })

  it.each([
    ['headers', HEADERS],
    ['nothing', DATA],
  ])('and then sends %s to one is sent away after a thousand', (_, type) => {
    const client = new Client()
    client.send(begin(1), frameOf(WINDOW_UPDATE, 0, 1, uint32(0)))
    const frame = frameOf(type, type === HEADERS ? END_HEADERS : 0, 1, Buffer.alloc(0))
    for (let i = 0; i < 900; i++) client.send(frame)
    expect(client.goodbye).toBeUndefined()
    for (let i = 0; i < 300; i++) client.send(frame)
    expect(client.goodbye).toBe(http2Error.ENHANCE_YOUR_CALM)
  })

  it('and whose data was on its way is not sent away', () => {
    const client = new Client()
    client.send(begin(1), frameOf(WINDOW_UPDATE, 0, 1, uint32(0)))
    for (let i = 0; i < 5_000; i++) client.send(frameOf(DATA, 0, 1, Buffer.alloc(100)))
    client.send(frameOf(DATA, END_STREAM, 1, Buffer.alloc(0)))
    expect(client.goodbye).toBeUndefined()
  })
})

describe('headers that are said again by a byte each', () => {
  const long = (bytes: number): Buffer => {
    const length = bytes - 127
    return Buffer.concat([Buffer.of(127, (length & 127) | 128, length >> 7), Buffer.alloc(bytes, 0x78)])
  }
  const again = Buffer.alloc(15, 0x80 | 62)

  it.each<[string, Buffer]>([
    ['a long name', Buffer.concat([Buffer.of(0x40), long(4_000), Buffer.of(1, 0x79)])],
    ['a long value', Buffer.concat([Buffer.of(0x40, 1, 0x79), long(4_000)])],
  ])('are looked at once: %s', (_, entry) => {
    const client = new Client()
    client.send(frameOf(HEADERS, END_HEADERS, 1, Buffer.concat([block, entry])))
    client.send(frameOf(HEADERS, END_HEADERS, 3, Buffer.concat([block, again])))
    const looked = vi.spyOn(RegExp.prototype, 'test')
    try {
      for (let id = 5; id < 205; id += 2) client.send(frameOf(HEADERS, END_HEADERS, id, again))
      // Trailers of a call that goes on, and of one that was cut.
      client.send(frameOf(HEADERS, whole, 3, again), frameOf(HEADERS, whole, 1, again))
      expect(looked).not.toHaveBeenCalled()
    } finally {
      looked.mockRestore()
    }
    expect(client.goodbye).toBeUndefined()
  })

  it('may have no name that is long', async () => {
    const client = new Client()
    const named = (length: number) => requestBlock('/a', { ['x'.repeat(length)]: 'y' })
    client.send(frameOf(HEADERS, whole, 1, named(126)))
    await new Promise(setImmediate)
    expect(client.count(RST_STREAM)).toBe(0)
    client.send(
      frameOf(HEADERS, whole, 3, Buffer.concat([block, Buffer.of(0), long(257), Buffer.of(1, 0x79)])),
    )
    await new Promise(setImmediate)
    expect(client.count(RST_STREAM)).toBe(1)
  })
})

describe('frames that carry nothing', () => {
  const nothing = Buffer.alloc(0)

  it.each<[string, Buffer]>([
    ['acknowledgements', frameOf(SETTINGS, flag.ACK, 0, nothing)],
    ['data without a byte', frameOf(DATA, 0, 1, nothing)],
    ['padding', frameOf(DATA, flag.PADDED, 1, Buffer.of(2, 0, 0))],
    ['priorities', frameOf(PRIORITY, 0, 1, Buffer.alloc(5))],
    ['what nobody knows', frameOf(99, 0, 0, nothing)],
  ])('are bounded: %s', (_, frame) => {
    const client = new Client()
    client.send(frameOf(HEADERS, END_HEADERS, 1, block))
    for (let i = 0; i < 99; i++) client.send(...Array.from({ length: 100 }, () => frame))
    expect(client.goodbye).toBeUndefined()
    for (let i = 0; i < 40; i++) client.send(...Array.from({ length: 100 }, () => frame))
    expect(client.goodbye).toBe(http2Error.ENHANCE_YOUR_CALM)
  })

  it('but end a call are not counted', async () => {
    const client = new Client()
    client.send(frameOf(HEADERS, END_HEADERS, 1, block))
    for (let id = 3; id < 30_000; id += 2) {
      client.send(
        frameOf(HEADERS, END_HEADERS, id, block),
        frameOf(DATA, 0, id, Buffer.alloc(5)),
        frameOf(DATA, END_STREAM, id, nothing),
      )
      client.streams.at(-1)?.end({ 'grpc-status': 0 })
      await new Promise(setImmediate)
    }
    expect(client.streams).toHaveLength(15_000)
    expect(client.goodbye).toBeUndefined()
  })
})

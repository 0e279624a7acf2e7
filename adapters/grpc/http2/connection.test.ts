/** What a connection answers to clients that keep the rules of HTTP/2, that break them, and that only make work. */
import net from 'node:net'
import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rounds } from '../../../src/testing/rounds.ts'
import type { CallStream, StreamSink } from '../call-stream.ts'
import type { Connections } from '../connections.ts'
import { Http2Connections } from '../http2-server.ts'
import { RawHttp2, requestBlock, settings, uint32 } from '../testing/raw-http2.ts'
import { Http2Connection } from './connection.ts'
import { http2Error } from './errors.ts'
import { flag, frameOf, frameType, preface } from './frames.ts'

const {
  DATA,
  HEADERS,
  PRIORITY,
  RST_STREAM,
  SETTINGS,
  PUSH_PROMISE,
  PING,
  GOAWAY,
  WINDOW_UPDATE,
  CONTINUATION,
} = frameType
const { END_STREAM, END_HEADERS, PADDED } = flag
const whole = END_STREAM | END_HEADERS
const streamsMax = 128
const block = requestBlock('/a')

/** A stream that answers the bytes that came with as many, when its client has sent all. */
class Echo implements StreamSink {
  readonly stream: CallStream
  readonly #chunks: Buffer[] = []
  isClosed = false
  constructor(stream: CallStream) {
    this.stream = stream
    stream.open(this)
  }
  get came(): Buffer {
    return Buffer.concat(this.#chunks)
  }
  data(chunk: Uint8Array): void {
    this.#chunks.push(Buffer.from(chunk))
  }
  halfClosed(): void {
    if (this.stream.headers[':path'] === '/wait') return
    this.stream.write([this.came])
    this.stream.end({ 'grpc-status': 0 })
  }
  closed(): void {
    this.isClosed = true
  }
}

let server: net.Server
let http2: Http2Connections
let port: number
let client: RawHttp2
const echoes: Echo[] = []

beforeEach(async () => {
  echoes.length = 0
  http2 = new Http2Connections(
    {
      limits: { subscriptionsPerSessionMax: 0 } as never,
      tls: undefined,
      keepaliveIntervalMs: 60_000,
      keepaliveTimeoutMs: 60_000,
    },
    { of: () => undefined } as unknown as Connections,
    (stream) => echoes.push(new Echo(stream)),
  )
  server = net.createServer((socket) => {
    socket.on('error', () => undefined)
    http2.add(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as net.AddressInfo).port
  client = await RawHttp2.connect(port)
})

afterEach(() => {
  client.destroy()
  http2.destroy()
  server.close()
})

/** The data of an answer, as far as it came. */
const dataOf = (id: number): Buffer =>
  Buffer.concat(
    client.frames.flatMap((frame) => (frame.type === DATA && frame.id === id ? [frame.payload] : [])),
  )

describe('a connection', () => {
  it('answers calls, in any pieces', async () => {
    const body = Buffer.alloc(16_384, 7)
    const bytes = Buffer.concat([
      frameOf(HEADERS, END_HEADERS, 1, block),
      frameOf(DATA, 0, 1, body),
      frameOf(DATA, END_STREAM, 1, Buffer.from('last')),
    ])
    for (let at = 0; at < bytes.length; at += 1_009) {
      client.write(bytes.subarray(at, at + 1_009))
      await new Promise(setImmediate)
    }
    while ((await client.next(HEADERS))?.flags !== whole);
    expect(dataOf(1)).toEqual(Buffer.concat([body, Buffer.from('last')]))
  })

  it('takes padding, priorities, trailers, and headers in several frames', async () => {
    const withPriority = Buffer.concat([
      Buffer.of(2),
      uint32(0),
      Buffer.of(9),
      block.subarray(0, 5),
      Buffer.alloc(2),
    ])
    client.send(HEADERS, PADDED | flag.PRIORITY, 1, withPriority)
    client.send(CONTINUATION, 0, 1, block.subarray(5, 9))
    client.send(CONTINUATION, END_HEADERS, 1, block.subarray(9))
    client.send(PRIORITY, 0, 1, Buffer.concat([uint32(0), Buffer.of(1)]))
    client.send(DATA, PADDED, 1, Buffer.from([3, 0x61, 0x62, 0, 0, 0]))
    client.send(HEADERS, whole, 1, Buffer.from([0, 1, 0x78, 1, 0x79]))
    expect((await client.next(DATA))?.payload.toString()).toBe('ab')
    expect(echoes[0].stream.headers).toMatchObject({ ':path': '/a', te: 'trailers' })
  })

  it('sends no more than the windows let through', async () => {
    client.write(settings([4, 10]))
    client.send(HEADERS, END_HEADERS, 1, block)
    client.send(DATA, END_STREAM, 1, Buffer.alloc(100, 1))
    expect(await client.lives()).toBe(true)
    expect(dataOf(1)).toHaveLength(10)
    client.send(WINDOW_UPDATE, 0, 1, uint32(30))
    expect(await client.lives()).toBe(true)
    expect(dataOf(1)).toHaveLength(40)
    // A smaller window counts what was sent already: it is 10 below nothing.
    client.write(settings([4, 0]))
    client.send(WINDOW_UPDATE, 0, 1, uint32(10))
    expect(await client.lives()).toBe(true)
    expect(dataOf(1)).toHaveLength(40)
    client.send(WINDOW_UPDATE, 0, 1, uint32(5))
    expect(await client.lives()).toBe(true)
    expect(dataOf(1)).toHaveLength(45)
  })

  it('shares the window of the connection', async () => {
    client.write(settings([4, 1_000_000]))
    for (const id of [1, 3]) {
      client.send(HEADERS, END_HEADERS, id, block)
      for (let i = 0; i < 4; i++) client.send(DATA, 0, id, Buffer.alloc(16_384))
      client.send(DATA, END_STREAM, id)
    }
    expect(await client.lives()).toBe(true)
    expect(dataOf(1).length + dataOf(3).length).toBe(65_535)
    client.send(WINDOW_UPDATE, 0, 0, uint32(100_000))
    expect(await client.lives()).toBe(true)
    expect([dataOf(1).length, dataOf(3).length]).toEqual([65_536, 65_536])
    expect(echoes.every(({ isClosed }) => isClosed)).toBe(true)
  })

  it('opens its windows again for what it took', async () => {
    client.send(HEADERS, END_HEADERS, 1, block)
    for (let i = 0; i < 600; i++) client.send(DATA, 0, 1, Buffer.alloc(16_000))
    expect(await client.lives()).toBe(true)
    const opened = client.frames.filter(({ type }) => type === WINDOW_UPDATE).map(({ id }) => id)
    expect(opened).toEqual(expect.arrayContaining([0, 1]))
    echoes[0].stream.pauseReading()
    for (let i = 0; i < 600; i++) client.send(DATA, 0, 1, Buffer.alloc(16_000))
    expect(await client.cut()).toBe(http2Error.FLOW_CONTROL_ERROR)
    expect(await client.lives()).toBe(true)
  })

  it('drops what a client sends to a call that has its answer', async () => {
    client.send(HEADERS, END_HEADERS, 1, block)
    expect(await client.lives()).toBe(true)
    const [{ stream }] = echoes
    stream.pauseReading()
    stream.end({ 'grpc-status': 8 })
    for (let i = 0; i < 1_200; i++) client.send(DATA, 0, 1, Buffer.alloc(16_000))
    expect(await client.lives()).toBe(true)
    expect(echoes[0]).toMatchObject({ isClosed: true, came: Buffer.alloc(0) })
    client.send(DATA, END_STREAM, 1, Buffer.alloc(10))
    client.send(DATA, 0, 1)
    expect(await client.goodbye()).toBe(http2Error.STREAM_CLOSED)
  })

  it('takes what was on its way to a stream that was cut', async () => {
    client.send(HEADERS, END_HEADERS, 1, block)
    expect(await client.lives()).toBe(true)
    echoes[0].stream.reset(http2Error.ENHANCE_YOUR_CALM)
    expect(await client.cut()).toBe(http2Error.ENHANCE_YOUR_CALM)
    client.send(DATA, END_STREAM, 1, Buffer.alloc(10))
    expect(await client.lives()).toBe(true)
  })

  it('closes when its calls are over, and takes no more', async () => {
    client.send(HEADERS, END_HEADERS, 1, block)
    expect(await client.lives()).toBe(true)
    http2.close()
    expect(await client.goodbye()).toBe(http2Error.NO_ERROR)
    client.send(HEADERS, whole, 3, block)
    expect(await client.cut()).toBe(http2Error.REFUSED_STREAM)
    client.send(DATA, END_STREAM, 1, Buffer.from('end'))
    expect((await client.next(DATA))?.payload.toString()).toBe('end')
    expect(await client.next(PING)).toBeUndefined()
    expect(client.isClosed).toBe(true)
  })

  it('refuses streams above its limit alone', async () => {
    for (let i = 0; i <= streamsMax; i++) client.send(HEADERS, END_HEADERS, 1 + 2 * i, block)
    expect(await client.cut()).toBe(http2Error.REFUSED_STREAM)
    expect(echoes).toHaveLength(streamsMax)
    client.send(DATA, END_STREAM, 1)
    client.send(HEADERS, END_HEADERS, 1_001, block)
    expect(await client.lives()).toBe(true)
    expect(echoes).toHaveLength(streamsMax + 1)
  })

  it('tells its streams when it is gone', async () => {
    client.send(HEADERS, END_HEADERS, 1, block)
    expect(await client.lives()).toBe(true)
    client.destroy()
    await expect.poll(() => echoes[0].isClosed, { interval: 2 }).toBe(true)
    expect(echoes[0].stream.isOver).toBe(true)
  })
})

describe('what breaks the rules', () => {
  const header = (name: string, value: string): Buffer =>
    Buffer.concat([Buffer.of(0, name.length), Buffer.from(name), Buffer.of(value.length), Buffer.from(value)])
  const bad = (headers: Record<string, string>): [number, number, number, Buffer] => [
    HEADERS,
    whole,
    1,
    requestBlock('/a', headers),
  ]
  it.each<[string, [number, number, number, Buffer?][], number]>([
    ['data before headers', [[DATA, 0, 1, Buffer.alloc(1)]], http2Error.PROTOCOL_ERROR],
    ['data of no stream', [[DATA, 0, 0, Buffer.alloc(1)]], http2Error.PROTOCOL_ERROR],
    ['a stream of the server', [[HEADERS, whole, 2, block]], http2Error.PROTOCOL_ERROR],
    ['a push', [[PUSH_PROMISE, END_HEADERS, 1, block]], http2Error.PROTOCOL_ERROR],
    [
      'more padding than data',
      [
        [HEADERS, END_HEADERS, 1, block],
        [DATA, PADDED, 1, Buffer.of(9, 0)],
      ],
      1,
    ],
    [
      'padding without data',
      [
        [HEADERS, END_HEADERS, 1, block],
        [DATA, PADDED, 1],
      ],
      http2Error.PROTOCOL_ERROR,
    ],
    [
      'something within headers',
      [
        [HEADERS, 0, 1, block],
        [PING, 0, 0, Buffer.alloc(8)],
      ],
      http2Error.PROTOCOL_ERROR,
    ],
    [
      'data within headers',
      [
        [HEADERS, 0, 1, block],
        [DATA, 0, 1],
      ],
      http2Error.PROTOCOL_ERROR,
    ],
    ['headers that go on nowhere', [[CONTINUATION, END_HEADERS, 1, block]], http2Error.PROTOCOL_ERROR],
    [
      'headers that go on elsewhere',
      [
        [HEADERS, 0, 1, block],
        [CONTINUATION, 4, 3, block],
      ],
      1,
    ],
    ['a reset of nothing', [[RST_STREAM, 0, 1, uint32(8)]], http2Error.PROTOCOL_ERROR],
    [
      'a short reset',
      [
        [HEADERS, 4, 1, block],
        [RST_STREAM, 0, 1, Buffer.alloc(3)],
      ],
      http2Error.FRAME_SIZE_ERROR,
    ],
    ['settings cut short', [[SETTINGS, 0, 0, Buffer.alloc(5)]], http2Error.FRAME_SIZE_ERROR],
    ['settings of a stream', [[SETTINGS, 0, 1, Buffer.alloc(6)]], http2Error.PROTOCOL_ERROR],
    ['an acknowledgement with settings', [[SETTINGS, 1, 0, Buffer.alloc(6)]], http2Error.FRAME_SIZE_ERROR],
    [
      'a window of 2 GiB',
      [[SETTINGS, 0, 0, settings([4, 2 ** 31]).subarray(9)]],
      http2Error.FLOW_CONTROL_ERROR,
    ],
    ['frames of a byte', [[SETTINGS, 0, 0, settings([5, 1]).subarray(9)]], http2Error.PROTOCOL_ERROR],
    ['a push that is 2', [[SETTINGS, 0, 0, settings([2, 2]).subarray(9)]], http2Error.PROTOCOL_ERROR],
    ['a short ping', [[PING, 0, 0, Buffer.alloc(7)]], http2Error.FRAME_SIZE_ERROR],
    ['a ping of a stream', [[PING, 0, 1, Buffer.alloc(8)]], http2Error.PROTOCOL_ERROR],
    ['a goodbye of a stream', [[GOAWAY, 0, 1, Buffer.alloc(8)]], http2Error.PROTOCOL_ERROR],
    ['a goodbye cut short', [[GOAWAY, 0, 0, Buffer.alloc(3)]], http2Error.FRAME_SIZE_ERROR],
    [
      'a window of a stream that the server never opened',
      [
        [HEADERS, 4, 3, block],
        [WINDOW_UPDATE, 0, 2, uint32(1)],
      ],
      1,
    ],
    [
      'a reset of a stream that the server never opened',
      [
        [HEADERS, 4, 3, block],
        [RST_STREAM, 0, 2, uint32(8)],
      ],
      1,
    ],
    ['a window that opens by nothing', [[WINDOW_UPDATE, 0, 0, uint32(0)]], http2Error.PROTOCOL_ERROR],
    [
      'a window that is too wide',
      [[WINDOW_UPDATE, 0, 0, uint32(2 ** 31 - 1)]],
      http2Error.FLOW_CONTROL_ERROR,
    ],
    ['a window of no stream', [[WINDOW_UPDATE, 0, 9, uint32(1)]], http2Error.PROTOCOL_ERROR],
    ['a priority of nothing', [[PRIORITY, 0, 0, Buffer.alloc(5)]], http2Error.PROTOCOL_ERROR],
    ['a short priority', [[PRIORITY, 0, 1, Buffer.alloc(4)]], http2Error.FRAME_SIZE_ERROR],
    ['headers that are none', [[HEADERS, whole, 1, Buffer.of(0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)]], 9],
  ])('%s ends the connection', async (_, frames, code) => {
    for (const frame of frames) client.send(...frame)
    expect(await client.goodbye()).toBe(code)
    await expect.poll(() => client.isClosed, { interval: 2 }).toBe(true)
  })

  it.each<[string, [number, number, number, Buffer?][], number]>([
    ['a header of HTTP/1', [bad({ connection: 'close' })], http2Error.PROTOCOL_ERROR],
    ['a name in capitals', [bad({ Upper: 'x' })], http2Error.PROTOCOL_ERROR],
    ['a line break', [bad({ x: 'a\r\nb' })], http2Error.PROTOCOL_ERROR],
    ['another te', [bad({ te: 'gzip' })], http2Error.PROTOCOL_ERROR],
    ['a pseudo header that there is not', [bad({ ':status': '200' })], http2Error.PROTOCOL_ERROR],
    ['no path', [[HEADERS, whole, 1, Buffer.of(0x83, 0x86)]], http2Error.PROTOCOL_ERROR],
    [
      'two methods',
      [[HEADERS, whole, 1, Buffer.concat([Buffer.of(0x83), block])]],
      http2Error.PROTOCOL_ERROR,
    ],
    ['a blank before a value', [bad({ x: ' a' })], http2Error.PROTOCOL_ERROR],
    ['a tab behind a value', [bad({ x: 'a\t' })], http2Error.PROTOCOL_ERROR],
    ...['', '-5', '0x5', '5e0', '5, 5', '+0', '0.0'].map(
      (length): [string, [number, number, number, Buffer?][], number] => [
        `a length of ${JSON.stringify(length)}`,
        [bad({ 'content-length': length })],
        http2Error.PROTOCOL_ERROR,
      ],
    ),
    [
      'two lengths',
      [
        [
          HEADERS,
          whole,
          1,
          Buffer.concat([requestBlock('/a', { 'content-length': '0' }), header('content-length', '7')]),
        ],
      ],
      http2Error.PROTOCOL_ERROR,
    ],
    ...[
      ['connection', 'x'],
      ['x', 'a\r'],
      [':path', '/'],
    ].map(([name, value]): [string, [number, number, number, Buffer?][], number] => [
      `${name} with the value ${JSON.stringify(value)} behind a request`,
      [
        [HEADERS, END_HEADERS, 1, block],
        [HEADERS, whole, 1, header(name, value)],
      ],
      http2Error.PROTOCOL_ERROR,
    ]),
    ['less than was announced', [bad({ 'content-length': '3' })], http2Error.PROTOCOL_ERROR],
    [
      'headers in the middle',
      [
        [HEADERS, 4, 1, block],
        [HEADERS, 4, 1, block],
      ],
      http2Error.PROTOCOL_ERROR,
    ],
    [
      'a window that opens by nothing',
      [
        [HEADERS, 4, 1, block],
        [WINDOW_UPDATE, 0, 1, uint32(0)],
      ],
      1,
    ],
    [
      'a window that is too wide',
      [
        [HEADERS, 4, 1, block],
        [WINDOW_UPDATE, 0, 1, uint32(2 ** 31 - 1)],
      ],
      3,
    ],
  ])('%s ends its stream alone', async (_, frames, code) => {
    for (const frame of frames) client.send(...frame)
    expect(await client.cut()).toBe(code)
    expect(await client.lives()).toBe(true)
    client.send(HEADERS, whole, 3, block)
    expect((await client.next(HEADERS))?.id).toBe(3)
  })

  it.each([DATA, HEADERS])('a frame of the type %i behind the end of its stream is refused', async (type) => {
    client.send(HEADERS, whole, 1, block)
    client.send(type, whole, 1, block)
    // The connection ends as well when the stream is forgotten by then.
    expect(await Promise.race([client.cut(), client.goodbye()])).toBe(http2Error.STREAM_CLOSED)
  })

  it.each<[string, Buffer]>([
    ['HTTP/1', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['no settings', Buffer.concat([preface, frameOf(PING, 0, 0, Buffer.alloc(8))])],
    [
      'an acknowledgement of settings',
      Buffer.concat([preface, frameOf(SETTINGS, flag.ACK, 0, Buffer.alloc(0))]),
    ],
    ['a frame of 16 MiB', Buffer.concat([preface, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])])],
  ])('%s at first ends the connection', async (_, greeting) => {
    const other = await RawHttp2.connect(port, greeting)
    expect(await other.goodbye()).toBeGreaterThan(0)
    await expect.poll(() => other.isClosed, { interval: 2 }).toBe(true)
    expect(await client.lives()).toBe(true)
  })
})

describe('what only makes work', () => {
  const calm = http2Error.ENHANCE_YOUR_CALM

  it('headers without end', async () => {
    client.send(HEADERS, 0, 1, block)
    for (let i = 0; i < 100; i++) client.send(CONTINUATION, 0, 1)
    expect(await client.goodbye()).toBe(calm)
  })

  it('headers that are large, or become large', async () => {
    const text = Buffer.concat([
      Buffer.of(0x40, 1, 0x78, 0x7f),
      Buffer.of(0x81, 0x1e),
      Buffer.alloc(4_000, 0x61),
    ])
    // One entry of the table, said a thousand times by a byte each.
    client.send(HEADERS, whole, 1, Buffer.concat([block, text, Buffer.alloc(1_000, 0x80 | 62)]))
    expect(await client.goodbye()).toBe(calm)
  })

  it('calls that are given up as soon as they are made', async () => {
    for (let i = 0; i < 1_200; i++) {
      client.send(HEADERS, END_HEADERS, 1 + 2 * i, block)
      client.send(RST_STREAM, 0, 1 + 2 * i, uint32(http2Error.CANCEL))
    }
    expect(await client.goodbye()).toBe(calm)
    await expect.poll(() => echoes.every(({ isClosed }) => isClosed), { interval: 2 }).toBe(true)
  })

  it('but pings of a client that takes the answers are answered, however many come at once', async () => {
    const pings = Buffer.concat(Array.from({ length: 20_000 }, () => frameOf(PING, 0, 0, Buffer.alloc(8))))
    client.write(pings)
    expect(await client.lives()).toBe(true)
  })

  it('settings that change again and again', async () => {
    for (let i = 0; i < 1_100; i++) {
      client.write(settings([4, i]))
      if (i % 100 === 0) await client.lives()
    }
    expect(await client.goodbye()).toBe(calm)
  })

  it('pings whose answers are not taken', () => {
    // A socket whose peer reads nothing.
    const socket = new Duplex({ read: () => undefined, write: () => undefined })
    const connection = new Http2Connection(socket, undefined, {
      streamsMax,
      windowBytes: 1_000_000,
      answerHeaders: {},
      serve: (stream) => echoes.push(new Echo(stream)),
    })
    connection.came(Buffer.concat([preface, settings()]))
    const pings = Buffer.concat(Array.from({ length: 100 }, () => frameOf(PING, 0, 0, Buffer.alloc(8))))
    for (let i = 0; i < 9; i++) connection.came(pings)
    expect(socket.writableEnded).toBe(false)
    for (let i = 0; i < 3; i++) connection.came(pings)
    expect(socket.writableEnded).toBe(true)
  })
})

describe('a client that reads nothing', () => {
  /** A connection whose socket takes nothing, and how much has come to wait for it. */
  function unread() {
    const socket = new Duplex({ read: () => undefined, write: () => undefined })
    const connection = new Http2Connection(socket, undefined, {
      streamsMax,
      windowBytes: 1_000_000,
      answerHeaders: { ':status': 200 },
      serve: (stream) => echoes.push(new Echo(stream)),
    })
    connection.came(
      Buffer.concat([preface, settings([4, 2 ** 31 - 1]), frameOf(WINDOW_UPDATE, 0, 0, uint32(2 ** 30))]),
    )
    return { socket, connection }
  }

  it.each([
    [
      'answers',
      (id: number) => [
        frameOf(HEADERS, END_HEADERS, id, block),
        frameOf(DATA, END_STREAM, id, Buffer.alloc(9_000)),
      ],
    ],
    ['answers without data', (id: number) => [frameOf(HEADERS, whole, id, block)]],
    ['refusals', (id: number) => [frameOf(HEADERS, whole, id, requestBlock('/a', { te: 'x' }))]],
    [
      'streams that are cut',
      (id: number) => [frameOf(HEADERS, END_HEADERS, id, block), frameOf(WINDOW_UPDATE, 0, id, uint32(0))],
    ],
  ])('has no more than so many %s waiting', async (_, call) => {
    const { socket, connection } = unread()
    for (let id = 1; id < 20_000; id += 2) {
      connection.came(Buffer.concat(call(id)))
      if (id % 501 === 0) await new Promise(setImmediate)
    }
    expect(socket.writableLength).toBeLessThan(1_500_000)
    expect(echoes.filter(({ isClosed }) => !isClosed).length).toBeLessThanOrEqual(streamsMax)
    connection.lost()
  })
})

describe('noise', () => {
  const some = fc.oneof(
    { weight: 3, arbitrary: fc.uint8Array({ maxLength: 40 }) },
    {
      weight: 3,
      arbitrary: fc.constantFrom(block, Buffer.concat([Buffer.of(0x40, 1, 0x78, 1, 0x79), block])),
    },
    fc.integer({ min: 0, max: 2 ** 31 }).map(uint32),
    fc
      .array(fc.tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: 0, max: 2 ** 32 - 1 })), {
        maxLength: 3,
      })
      .map((pairs) => settings(...pairs).subarray(9)),
  )
  const frame = fc
    .tuple(
      fc.integer({ min: 0, max: 10 }),
      fc.oneof(fc.constantFrom(0, END_STREAM, END_HEADERS, whole), fc.integer({ min: 0, max: 255 })),
      fc.integer({ min: 0, max: 8 }),
      some,
    )
    .map(([type, flags, id, payload]) => frameOf(type, flags, id, payload))

  it.each(['as one', 'byte by byte'])(
    '%s ends at most its connection, and every stream is told',
    async (how) => {
      const commands = fc.array(fc.oneof({ weight: 9, arbitrary: frame }, fc.uint8Array({ maxLength: 30 })), {
        maxLength: 60,
      })
      await fc.assert(
        fc.asyncProperty(commands, async (frames) => {
          echoes.length = 0
          const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })
          const connection = new Http2Connection(socket, undefined, {
            streamsMax: 3,
            windowBytes: 1_000_000,
            answerHeaders: { ':status': 200 },
            serve: (stream) => echoes.push(new Echo(stream)),
          })
          const bytes = Buffer.concat([preface, settings(), ...frames])
          if (how === 'as one') connection.came(bytes)
          else for (const byte of bytes) connection.came(Uint8Array.of(byte))
          connection.close()
          connection.lost()
          await new Promise(setImmediate)
          expect(echoes.every(({ isClosed, stream }) => isClosed && stream.isOver)).toBe(true)
          // Nothing is done for who is gone.
          for (const { stream } of echoes) {
            stream.write([Buffer.alloc(9)])
            stream.resumeReading()
            stream.end({ 'grpc-status': 0 })
          }
        }),
        { numRuns: rounds(3_000, 300) },
      )
    },
  )
})

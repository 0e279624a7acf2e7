/** Peers that are slow, silent, foreign or hostile: each is told why where that is possible, and costs little. */
import fc from 'fast-check'
import { ManualClock } from 'ratatoskr/contract-tests'
import { type BoundAddress, encodeCredit, encodeOpening, encodeProduce, utf8 } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type TcpTransportOptions, tcpTransport } from './index.ts'
import { RawClient } from './testing/raw-client.ts'

async function started(options: TcpTransportOptions = {}, clock?: ManualClock, limits = {}) {
  const transport = tcpTransport({ port: 0, ...options })
  const platform = clock === undefined ? {} : { clock }
  const broker = await startTestBroker({ transports: [transport], platform, limits })
  onTestFinished(() => broker.stop())
  return { broker, transport, address: transport.address as BoundAddress }
}

const errorOf = async (client: RawClient): Promise<unknown> =>
  (await client.take(({ event }) => event === 'error')).error

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('a peer that speaks something else', () => {
  it.each([
    [
      'HTTP',
      'GET /v1/topics HTTP/1.1\r\nhost: x\r\n\r\n',
      /^HTTP\/1\.1 400 .*connection: close.*RTK_NOT_SUPPORTED/s,
    ],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /^HTTP\/1\.1 400/],
    ['Redis', 'PING\r\n', /^RTK_NOT_SUPPORTED: .*tcp:\/\/.*\r\n$/],
    ['NATS', 'CONNECT {}\r\n', /^HTTP|^RTK_NOT_SUPPORTED/],
    ['noise', '\u0000\u00ff\u0000', /^RTK_NOT_SUPPORTED/],
  ])('is told so in its own words, and closed: %s', async (_, text, answer) => {
    const { address } = await started()
    const client = await RawClient.open(address)
    client.socket.write(Buffer.from(text, 'latin1'))
    await client.closed
    expect(client.received.toString('latin1')).toMatch(answer)
  })

  it('TLS gets an alert of TLS', async () => {
    const { address } = await started()
    const client = await RawClient.open(address)
    client.socket.write(Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc))
    await client.closed
    expect([...client.received]).toEqual([21, 3, 1, 0, 2, 2, 70])
  })

  it('of another version hears ours, and why it is closed', async () => {
    const { address } = await started()
    const client = await RawClient.open(address)
    const opening = encodeOpening(100)
    opening[4] = 9
    client.socket.write(opening)
    expect(await errorOf(client)).toMatchObject({
      code: 'RTK_NOT_SUPPORTED',
      message: expect.stringContaining('9'),
    })
    expect(client.received.subarray(0, 5)).toEqual(Buffer.from('RTSK\u0001'))
    await client.closed
  })
})

describe('a frame', () => {
  it('that is announced too large is refused before it comes: first 64 KiB, then what the transport takes', async () => {
    const { address } = await started({ frameBytesMax: 1_000_000 })
    const early = await RawClient.open(address)
    early.socket.write(Buffer.concat([encodeOpening(100), Uint8Array.of(0, 1, 0, 1)]))
    expect(await errorOf(early)).toMatchObject({ code: 'RTK_FRAME_MALFORMED' })
    await early.closed
    const late = await RawClient.begun(address)
    late.socket.write(Uint8Array.of(0, 0x0f, 0x42, 0x40)) // 1,000,000: waited for
    late.socket.write(new Uint8Array(1_000_000).fill(0x20))
    expect(await errorOf(late)).toMatchObject({ message: expect.stringContaining('flags') })
    const larger = await RawClient.begun(address)
    larger.socket.write(Uint8Array.of(0, 0x0f, 0x42, 0x41))
    expect(await errorOf(larger)).toMatchObject({ message: expect.stringContaining('1000001') })
    await larger.closed
  })

  it.each([
    ['text that is no UTF-8', Uint8Array.of(0x7b, 0xff), 'RTK_FRAME_MALFORMED'],
    ['text that is no request', Uint8Array.of(0x7b, 0x7d), 'RTK_FRAME_MALFORMED'],
    ['a kind that is not known', Uint8Array.of(99, ...new Uint8Array(31)), 'RTK_FRAME_MALFORMED'],
    ['one that only brokers send', Uint8Array.of(3, 0, 255, ...new Uint8Array(29)), 'RTK_FRAME_MALFORMED'],
  ])('of %s ends the connection with the reason', async (_, frame, code) => {
    const { address } = await started()
    const client = await RawClient.begun(address)
    client.send(frame)
    client.say({ op: 'ping', id: 5 }) // not answered any more
    expect(await errorOf(client)).toMatchObject({ code })
    await client.closed
    expect(client.frames).toEqual([])
  })

  it('that is larger than the client takes ends the subscription, and nothing else', async () => {
    const { broker, address } = await started()
    await broker.createTopic('orders')
    const client = await RawClient.begun(address, 10_000)
    client.say({ op: 'subscribe', id: 9, topic: 'orders', credit: { bytes: 1_000_000 } })
    await client.take(({ event }) => event === 'assigned')
    await broker.publish('orders', new Uint8Array(20_000))
    const ended = await client.take(({ event }) => event === 'ended')
    expect(ended).toMatchObject({ subscription: 9, error: { code: 'RTK_BATCH_TOO_LARGE' } })
    expect(await client.ask('ping')).toEqual({})
  })
})

describe('a peer that takes its time', () => {
  it('is cut off when its session does not stand in time, however it sends', async () => {
    const clock = new ManualClock()
    const { address, broker } = await started({ handshakeTimeoutMs: 5_000 }, clock)
    const [silent, dripping, begun] = [
      await RawClient.open(address),
      await RawClient.open(address),
      await RawClient.open(address),
    ]
    const bytes = Buffer.concat([encodeOpening(100), Uint8Array.of(0, 0, 0, 20, 0x7b)])
    begun.socket.write(bytes)
    for (let second = 0; second < 5; second++) {
      dripping.socket.write(bytes.subarray(second, second + 1))
      for (let n = 0; n < 20; n++) await turn()
      await clock.advance(1_000)
    }
    for (const client of [silent, dripping, begun]) {
      expect(await errorOf(client)).toMatchObject({ code: 'RTK_TIMEOUT' })
      await client.closed
    }
    expect(broker.stats().sessions).toBe(1)
  })

  it('costs no more room than it has filled, whatever it announces', async () => {
    const { address } = await started()
    const other = await RawClient.begun(address)
    const clients = await Promise.all(Array.from({ length: 100 }, () => RawClient.begun(address)))
    const before = process.memoryUsage().arrayBuffers
    for (const client of clients) client.socket.write(Uint8Array.of(1, 0, 0, 0, 1, 0, 0)) // 16 MiB to come
    for (let n = 0; n < 200; n++) await other.ask('ping')
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(150 * 1024 * 1024)
  })

  it('and gives no sign of life is cut off; one that does is kept', async () => {
    const clock = new ManualClock()
    const { address } = await started({ pingIntervalMs: 1_000 }, clock)
    const [dead, alive] = [await RawClient.begun(address), await RawClient.begun(address)]
    await clock.advance(1_000)
    while (alive.frames.length === 0) await turn()
    expect(alive.frames.shift()).toEqual(new Uint8Array(0))
    alive.send(new Uint8Array(0))
    await alive.ask('ping')
    await clock.advance(1_000)
    await dead.closed
    expect(await alive.ask('ping')).toEqual({})
  })

  it('over a large frame is kept, as long as something comes of it', async () => {
    const clock = new ManualClock()
    const { address, broker } = await started({ pingIntervalMs: 1_000 }, clock)
    const [client, other] = [await RawClient.begun(address), await RawClient.begun(address)]
    const text = Buffer.from(JSON.stringify({ op: 'createTopic', id: 3, topic: 'slow' }))
    client.socket.write(Uint8Array.of(0, 0, 0, text.length))
    for (const byte of text) {
      client.socket.write(Uint8Array.of(byte))
      for (let n = 0; n < 3; n++) await other.ask('ping') // by then the broker has read the byte
      await clock.advance(999)
    }
    expect(await client.take(({ id }) => id === 3)).toHaveProperty('ok')
    expect(broker.stats().topics).toBe(1)
  })

  it('and never reads holds a bounded part of what it asked for, and keeps nobody waiting', async () => {
    const { address, broker } = await started({ outboundBytesMax: 64 * 1024 })
    await broker.createTopic('orders')
    const [slow, quick] = [await RawClient.begun(address), await RawClient.begun(address)]
    for (const client of [slow, quick]) {
      client.say({ op: 'subscribe', id: 9, topic: 'orders', credit: { bytes: 64 * 1024 * 1024 } })
      await client.take(({ event }) => event === 'assigned')
    }
    slow.socket.pause()
    const payload = new Uint8Array(1024 * 1024)
    for (let n = 0; n < 32; n++) await broker.publish('orders', payload)
    while (quick.frames.length < 32) await turn()
    expect(broker.stats().messagesDelivered).toBeLessThan(64)
    slow.socket.resume()
    while (slow.frames.length < 32) await turn()
  })

  it('to hang up after it was refused is cut off', async () => {
    const clock = new ManualClock()
    const { address, transport } = await started({}, clock)
    const client = await RawClient.open(address)
    client.socket.allowHalfOpen = true
    client.socket.write('nonsense')
    while (client.received.length === 0) await turn()
    await clock.advance(2_000)
    await transport.stop(100)
  })
})

describe('any bytes', () => {
  it('do no harm to others, whatever of a conversation they damage', async () => {
    const { address, broker } = await started({ handshakeTimeoutMs: 3_600_000 })
    const other = await RawClient.begun(address)
    await other.ask('createTopic', { topic: 'orders' })
    const frames = [
      { op: 'hello', id: 0 },
      { op: 'subscribe', id: 1, topic: 'orders', credit: { bytes: 1_000 } },
      { op: 'fetch', id: 2, topic: 'orders', partition: 0, offset: 0 },
    ].map((frame) => utf8(JSON.stringify(frame)))
    const binary = [encodeProduce(3, 'orders', 0, undefined, new Uint8Array(80)), encodeCredit(1, 50)]
    const whole = Buffer.concat([
      encodeOpening(1_000),
      ...[...frames, ...binary].flatMap((frame) => [Uint8Array.of(0, 0, 0, frame.length), frame]),
    ])
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.nat(whole.length),
        async (damages, end) => {
          const bytes = Buffer.from(whole)
          for (const [place, byte] of damages) bytes[place] = byte
          const client = await RawClient.open(address)
          client.socket.end(bytes.subarray(0, end))
          await client.closed
          expect(await other.ask('ping')).toEqual({})
        },
      ),
      { numRuns: 200 },
    )
    while (broker.stats().sessions > 2) await turn()
    expect(broker.health().status).toBe('ok')
  })
})

describe('a connection', () => {
  it('beyond the limit is told so', async () => {
    const { address } = await started({}, undefined, { sessionsMax: 2 })
    const clients = [await RawClient.begun(address)]
    clients.push(await RawClient.open(address))
    const last = await RawClient.open(address)
    expect(await errorOf(last)).toMatchObject({ code: 'RTK_LIMIT_EXCEEDED' })
    await last.closed
    expect(await clients[0].ask('ping')).toEqual({})
  })

  it('is told when the broker stops, after what was under way', async () => {
    const { address, transport, broker } = await started()
    await broker.createTopic('orders')
    const [client, unknown] = [await RawClient.begun(address), await RawClient.open(address)]
    client.say({ op: 'subscribe', id: 9, topic: 'orders', credit: { bytes: 1_000 } })
    client.say({ op: 'fetch', id: 10, topic: 'orders', partition: 0, offset: 0, waitMs: 60_000 })
    await client.ask('ping')
    const stopped = transport.stop(5_000)
    expect(await client.take(({ event }) => event === 'ended')).toMatchObject({
      error: { code: 'RTK_UNAVAILABLE' },
    })
    expect(await client.take(({ id }) => id === 10)).toMatchObject({ error: { code: 'RTK_UNAVAILABLE' } })
    for (const peer of [client, unknown]) {
      expect(await errorOf(peer)).toMatchObject({ code: 'RTK_UNAVAILABLE' })
      await peer.closed
    }
    await stopped
  })
})

/** Callers that nobody knows, or not yet: what they are told, and what is kept for them. */
import { once } from 'node:events'
import net from 'node:net'
import { status } from '@grpc/grpc-js'
import { type Authenticator, type Credentials, type Peer, RatatoskrError } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { afterEach, describe, expect, it } from 'vitest'
import { flag, frameOf, frameType, preface } from './http2/frames.ts'
import { call, Harness, type HarnessOptions } from './testing/harness.ts'
import { RawHttp2, requestBlock, settings } from './testing/raw-http2.ts'
import { tls } from './testing/tls.ts'

const { publish } = proto.MessageServiceService
const { listTopics } = proto.TopicServiceService
const { DATA, HEADERS } = frameType
const { END_HEADERS, END_STREAM } = flag

const harnesses: Harness[] = []
const clients: RawHttp2[] = []
async function start(options?: HarnessOptions): Promise<Harness> {
  const harness = await Harness.start(options)
  harnesses.push(harness)
  return harness
}
async function connect(harness: Harness): Promise<RawHttp2> {
  const client = await RawHttp2.connect(harness.address.port)
  clients.push(client)
  return client
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy()
  for (const harness of harnesses.splice(0)) await harness.stop()
})

/** Lets in who has the token, when the gate is open. */
class Guard implements Authenticator {
  readonly requiresCredentials = true
  gate: Promise<void> = Promise.resolve()
  asked = 0

  async authenticate(_peer: Peer, given: Credentials) {
    this.asked++
    await this.gate
    if (given.kind === 'bearer' && given.token === 'secret') return { name: 'someone', namespace: 'default' }
    throw new RatatoskrError('RTK_UNAUTHENTICATED', 'wrong credentials')
  }
}

function guarded(): { readonly guard: Guard; readonly started: Promise<Harness> } {
  const guard = new Guard()
  const authorizer = { grants: async () => ({ allows: () => true }) }
  return { guard, started: start({ broker: { security: { authenticator: guard, authorizer } } }) }
}

const authorized = { authorization: 'Bearer secret' }

/** What a call is answered with, which failed before it had any data. */
async function codeOf(client: RawHttp2): Promise<number> {
  const text = (await client.next(HEADERS))?.payload.toString('latin1') ?? ''
  return Number(/grpc-status.(\d+)/s.exec(text)?.[1])
}

it('a stranger is told so, whatever comes', async () => {
  const client = await connect(await guarded().started)
  const noise = Buffer.of(0, 0, 0, 0, 2, 0xff, 0xff)
  for (const [place, { path }] of [publish, listTopics].entries()) {
    client.send(HEADERS, END_HEADERS, 1 + 2 * place, requestBlock(path))
    client.send(DATA, END_STREAM, 1 + 2 * place, noise)
    expect(await codeOf(client)).toBe(status.UNAUTHENTICATED)
  }
  client.send(HEADERS, END_HEADERS, 9, requestBlock(publish.path, authorized))
  client.send(DATA, END_STREAM, 9, noise)
  expect(await codeOf(client)).toBe(status.INVALID_ARGUMENT)
})

it('connections from one port to two addresses have sessions of their own', async () => {
  const harness = await start({ transport: { host: '0.0.0.0', insecure: true } })
  const { port } = harness.address
  const open = async (host: string, localPort: number): Promise<net.Socket> => {
    const socket = net.connect({ port, host, localAddress: '127.0.0.1', localPort })
    socket.on('error', () => undefined)
    const answered = once(socket, 'data')
    socket.write(Buffer.concat([preface, settings(), frameOf(HEADERS, END_HEADERS, 1, requestBlock(path))]))
    socket.write(frameOf(DATA, END_STREAM, 1, Buffer.alloc(5)))
    await answered
    return socket
  }
  const { path } = listTopics
  const sessions = () => harness.broker.stats().sessions
  const before = sessions()
  const one = await open('127.0.0.1', 0)
  const other = await open('127.0.0.2', one.localPort as number)
  await expect.poll(sessions, { interval: 2 }).toBe(before + 2)
  one.destroy()
  await expect.poll(sessions, { interval: 2 }).toBe(before + 1)
  other.destroy()
  await expect.poll(sessions, { interval: 2 }).toBe(before)
})

describe('what strangers send', () => {
  /** A Publish of so many bytes, without its end. */
  const large = (id: number, bytes: number, headers = {}): Buffer => {
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(bytes, 1)
    const frames = [
      frameOf(HEADERS, END_HEADERS, id, requestBlock(publish.path, headers)),
      frameOf(DATA, 0, id, prefix),
    ]
    for (let at = 0; at < bytes; at += 16_000)
      frames.push(frameOf(DATA, 0, id, Buffer.alloc(Math.min(16_000, bytes - at))))
    return Buffer.concat(frames)
  }

  it('is refused at its headers', async () => {
    const client = await connect(await guarded().started)
    client.send(HEADERS, END_HEADERS, 1, requestBlock(publish.path))
    expect(await codeOf(client)).toBe(status.UNAUTHENTICATED)
    client.send(HEADERS, END_HEADERS, 3, requestBlock(publish.path, { authorization: 'Foo x' }))
    expect(await codeOf(client)).toBe(status.UNAUTHENTICATED)
    client.send(
      HEADERS,
      END_HEADERS,
      5,
      requestBlock(proto.MessageServiceService.consume.path, { authorization: 'Bearer x' }),
    )
    expect(await codeOf(client)).toBe(status.UNAUTHENTICATED)
  })

  it('waits with them until it is known who they are, and is taken then', async () => {
    const { guard, started } = guarded()
    const harness = await started
    const gate = Promise.withResolvers<void>()
    guard.gate = gate.promise
    const socket = net.connect(harness.address.port, '127.0.0.1')
    socket.on('error', () => undefined).resume()
    socket.write(Buffer.concat([preface, settings()]))
    const bytes = 7_000_000
    for (let id = 1; id < 12; id += 2) socket.write(large(id, bytes, authorized))
    await expect.poll(() => guard.asked, { interval: 2 }).toBe(1)
    // What the system takes is little beside all of it.
    await turnsUntilStill(() => socket.writableLength)
    expect(socket.writableLength).toBeGreaterThan(4 * bytes)
    gate.resolve()
    await expect.poll(() => socket.writableLength, { interval: 2 }).toBe(0)
    socket.destroy()
    expect(await call(harness.client(), listTopics, {}, authorized)).toEqual({ topics: [] })
  })

  it('to what anybody may call is bounded', async () => {
    const client = await connect(await guarded().started)
    const check = '/grpc.health.v1.Health/Check'
    const prefix = Buffer.of(0, 0, 0x20, 0, 0)
    client.send(HEADERS, END_HEADERS, 1, requestBlock(check))
    client.send(DATA, 0, 1, prefix)
    for (let i = 0; i < 100; i++) client.send(DATA, 0, 1, Buffer.alloc(16_000))
    expect((await client.next(HEADERS))?.payload.toString('latin1')).toContain('RTK_OVERLOADED')
    client.send(HEADERS, END_HEADERS, 3, requestBlock(check))
    client.send(DATA, END_STREAM, 3, Buffer.alloc(5))
    expect((await client.next(DATA))?.id).toBe(3)
  })
})

describe('who does not agree on TLS', () => {
  const greet = async (options: HarnessOptions['transport'], hello: Uint8Array) => {
    const harness = await start({ transport: { tls, ...options } })
    const socket = net.connect(harness.address.port, '127.0.0.1')
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    socket.on('error', () => undefined).resume()
    await once(socket, 'connect')
    socket.write(hello)
    return { harness, closed }
  }
  const hellos: [string, Uint8Array][] = [
    ['nothing', Buffer.alloc(0)],
    ['the beginning of a hello', Buffer.from('160301', 'hex')],
  ]

  it.each(hellos)('but sends %s is cut', async (_, hello) => {
    const { closed } = await greet({ keepaliveTimeoutMs: 20 }, hello)
    await closed
  })

  it.each(hellos)('but sends %s does not hold up the stop', async (_, hello) => {
    const { harness, closed } = await greet({}, hello)
    await harness.transport.stop(60_000)
    await closed
  })
})

/** Resolves when a number has not changed for some turns of the event loop. */
async function turnsUntilStill(read: () => number): Promise<void> {
  let last = -1
  for (let still = 0; still < 200; still++) {
    await new Promise(setImmediate)
    if (read() !== last) still = 0
    last = read()
  }
}

/** Callers that nobody knows, or not yet: what they are told, and what is kept for them. */
import { once } from 'node:events'
import net from 'node:net'
import { status } from '@grpc/grpc-js'
import { type Authenticator, type Credentials, type Peer, RatatoskrError } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { afterEach, expect, it } from 'vitest'
import { flag, frameOf, frameType, preface } from './http2/frames.ts'
import { call, Harness, type HarnessOptions } from './testing/harness.ts'
import { RawHttp2, requestBlock, settings } from './testing/raw-http2.ts'

const { publish } = proto.MessageServiceService
const { listTopics, createTopic } = proto.TopicServiceService
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

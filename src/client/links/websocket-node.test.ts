/** What the socket of Node's WebSocket links makes of what a server sends, byte by byte as it lies on the wire. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer, getCACertificates, setDefaultCACertificates } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tls } from '../../../adapters/grpc/testing/tls.ts'
import { errorToJson, RatatoskrError } from '../../ports/index.ts'
import { openNodeSocket } from './websocket-node.ts'
import type { WireSocket } from './wire-socket.ts'

const frameBytesMax = 300_000

/** What the client saw, in order, and a promise for its end. */
function recorder() {
  const seen: unknown[] = []
  const end = Promise.withResolvers<string>()
  const events = {
    text: (text: string) => void seen.push(text),
    binary: (bytes: Uint8Array) => void seen.push([bytes.length, bytes[0], bytes.at(-1)]),
    closed: end.resolve,
  }
  return { seen, events, ended: end.promise }
}

type Serve = (socket: Socket, answer: Buffer) => void

/** A server that does what the test says once it was asked for a WebSocket; `answer` accepts it. */
async function serverOf(serve: Serve, encrypted = false): Promise<URL> {
  const accept = (socket: Socket): void => {
    let request = ''
    const read = (chunk: Buffer): void => {
      request += chunk
      if (!request.endsWith('\r\n\r\n')) return
      socket.off('data', read)
      serve(socket, answerTo(request))
    }
    socket.on('error', () => {}).on('data', read)
  }
  const server = encrypted ? createTlsServer({ ...tls, noDelay: true }, accept) : createServer(accept)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return new URL(`${encrypted ? 'wss' : 'ws'}://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

function answerTo(request: string): Buffer {
  const key = /sec-websocket-key: (.*)\r\n/i.exec(request)?.[1]
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade']
  lines.push(`Sec-WebSocket-Accept: ${accept}`, 'Sec-WebSocket-Protocol: ratatoskr.v1+binary')
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
}

async function open(url: URL, events: ReturnType<typeof recorder>['events']): Promise<WireSocket> {
  const socket = await openNodeSocket(url, { events, frameBytesMax, signal: undefined })
  onTestFinished(() => socket.close())
  return socket
}

/** A frame that is not masked. @param first its flags and opcode */
function frame(first: number, payload: Uint8Array | string, lengthBytes = 0): Buffer {
  const body = Buffer.from(payload)
  const bytes = Math.max(lengthBytes, body.length < 126 ? 0 : body.length < 65_536 ? 2 : 8)
  const header = Buffer.alloc(2 + bytes)
  header[0] = first
  header[1] = bytes === 0 ? body.length : bytes === 2 ? 126 : 127
  if (bytes === 2) header.writeUInt16BE(body.length, 2)
  if (bytes === 8) header.writeBigUInt64BE(BigInt(body.length), 2)
  return Buffer.concat([header, body])
}

const filled = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill)
const masked = Buffer.of(0x82, 0x83, 0, 0, 0, 0, 1, 2, 3)
const close = frame(0x88, Buffer.of(0x03, 0xe9)) // 1001: going away

const conversation = [
  frame(0x82, filled(3, 1)),
  frame(0x81, 'one'),
  frame(0x82, filled(0, 0)),
  frame(0x89, 'ping'),
  frame(0x82, filled(200, 2)),
  frame(0x02, filled(4, 3)), // a message in two fragments, with a sign of life between
  frame(0x89, ''),
  frame(0x80, filled(5, 4)),
  frame(0x82, filled(10, 5), 8),
  frame(0x01, 'tw'),
  frame(0x80, 'o'),
  frame(0x82, filled(1, 6)),
]
const told = [
  [3, 1, 1],
  'one',
  [0, undefined, undefined],
  [200, 2, 2],
  [9, 3, 4],
  [10, 5, 5],
  'two',
  [1, 6, 6],
]
const early = Buffer.from('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n')

describe('what a server sends over a WebSocket', () => {
  it.each([
    ['in one piece with the handshake', (answer: Buffer) => [Buffer.concat([answer, ...conversation])]],
    ['behind hints', (answer: Buffer) => [Buffer.concat([early, answer, ...conversation])]],
    ['frame by frame', (answer: Buffer) => [answer, ...conversation]],
    ['byte by byte', (answer: Buffer) => bytesOf(Buffer.concat([early, answer, ...conversation]))],
  ])('comes in order %s', async (_, cut) => {
    const url = await serverOf(async (socket, answer) => {
      socket.setNoDelay()
      for (const piece of cut(answer)) {
        socket.write(piece)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
    const { seen, events } = recorder()
    await open(url, events)
    await expect.poll(() => seen.length).toBe(told.length)
    expect(seen).toEqual(told)
  })

  it('is taken for frames from the end of the handshake on, wherever a read ends', async () => {
    const batch = frame(0x82, Buffer.alloc(200, Buffer.of(0x82, 0))) // its bytes look like empty messages
    const firstRead = Promise.withResolvers<void>()
    const url = await serverOf(async (socket, answer) => {
      socket.write(Buffer.concat([answer, frame(0x82, 'a'), batch.subarray(0, 104)]))
      await firstRead.promise
      socket.write(Buffer.concat([batch.subarray(104), frame(0x82, 'b')]))
    })
    const { seen, events } = recorder()
    await open(url, events)
    firstRead.resolve()
    await expect.poll(() => seen.length).toBe(3)
    expect(seen).toEqual([
      [1, 97, 97],
      [200, 0x82, 0],
      [1, 98, 98],
    ])
  })

  it('may be as large as is allowed, and keeps its bytes when more comes', async () => {
    const sizes = [frameBytesMax, 40_000, 100, 70_000, frameBytesMax, 2_000]
    const url = await serverOf((socket, answer) => {
      socket.write(answer)
      for (const [place, size] of sizes.entries()) socket.write(frame(0x82, filled(size, place + 1)))
    })
    const frames: Uint8Array[] = []
    const { events } = recorder()
    await open(url, { ...events, binary: (bytes) => void frames.push(bytes) })
    await expect.poll(() => frames.length).toBe(sizes.length)
    for (const [place, size] of sizes.entries()) {
      expect(frames[place].length).toBe(size)
      expect(frames[place].every((byte) => byte === place + 1)).toBe(true)
    }
  })

  it.each([
    ['is masked', masked, /MASK/],
    ['is too large', frame(0x82, filled(frameBytesMax + 1, 1)), /Max payload/],
    ['uses reserved bits', frame(0xc2, filled(3, 1)), /RSV/],
    ['is a new message within another', Buffer.concat([frame(0x02, 'a'), frame(0x82, 'b')]), /opcode/],
    ['ends it', close, /code 1001/],
  ])('ends the connection when it %s, and nothing behind it counts', async (_, bytes, how) => {
    const url = await serverOf((socket, answer) => {
      socket.write(Buffer.concat([answer, frame(0x82, 'a'), bytes, frame(0x82, 'b'), frame(0x81, 'c')]))
      socket.resume()
    })
    const { seen, events, ended } = recorder()
    await open(url, events)
    expect(await ended).toMatch(how)
    expect(seen).toEqual([[1, 97, 97]])
  })

  it('may end in the middle of a frame', async () => {
    const url = await serverOf((socket, answer) => {
      socket.end(Buffer.concat([answer, frame(0x82, filled(100, 1)).subarray(0, 50)]))
    })
    const { seen, events, ended } = recorder()
    await open(url, events)
    expect(await ended).toMatch(/code 1006/)
    expect(seen).toEqual([])
  })

  it('is a refusal with its reason, which may look like heads', async () => {
    const reason = new RatatoskrError('RTK_LIMIT_EXCEEDED', 'too many connections')
    const body = `\r\n\r\n${JSON.stringify(errorToJson(reason))}\r\n\r\n`
    const head = `HTTP/1.1 503 No\r\nContent-Length: ${body.length}\r\n\r\n`
    const url = await serverOf((socket) => void socket.write(head + body))
    await expect(open(url, recorder().events)).rejects.toMatchObject({
      code: reason.code,
      message: reason.message,
    })
  })

  it('is told of this end, behind what was sent', async () => {
    const came: Buffer[] = []
    const url = await serverOf((socket, answer) => {
      socket.write(answer)
      socket.on('data', (chunk: Buffer) => {
        came.push(chunk)
        if (chunk.includes(0x88)) socket.end(frame(0x88, Buffer.of(0x03, 0xe8)))
      })
    })
    const { events, ended } = recorder()
    const socket = await open(url, events)
    socket.sendBinary(Uint8Array.of(1), filled(3_000, 2))
    socket.close()
    expect(await ended).toMatch(/code 1000/)
    const bytes = Buffer.concat(came)
    expect([...bytes.subarray(0, 9)]).toEqual([0x82, 0xfe, 3_001 >> 8, 3_001 & 255, 0, 0, 0, 0, 1])
    expect([...bytes.subarray(3_009)]).toEqual([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])
  })

  it('comes over TLS the same', async () => {
    const trusted = getCACertificates('default')
    const url = await serverOf((socket, answer) => {
      socket.write(Buffer.concat([answer, ...conversation, frame(0x82, filled(frameBytesMax, 7))]))
    }, true)
    await expect(open(url, recorder().events)).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    setDefaultCACertificates([...trusted, tls.cert])
    onTestFinished(() => setDefaultCACertificates(trusted))
    const { seen, events } = recorder()
    await open(url, events)
    await expect.poll(() => seen.length).toBe(told.length + 1)
    expect(seen).toEqual([...told, [frameBytesMax, 7, 7]])
  })
})

const bytesOf = (bytes: Buffer): Buffer[] => [...bytes].map((byte) => Buffer.of(byte))

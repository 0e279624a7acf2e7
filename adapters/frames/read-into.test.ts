import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { encodeOpening, StreamReader } from 'ratatoskr/ports'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readInto } from './read-into.ts'

async function listening(serve: (socket: Socket) => void): Promise<{ server: Server; peer: Socket }> {
  const server = createServer({ noDelay: true }, serve).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const peer = connect((server.address() as AddressInfo).port, '127.0.0.1')
  onTestFinished(() => void peer.destroy())
  return { server, peer }
}

describe('a socket that is read into frames', () => {
  it('takes the place of the accepted one, which this version of Node allows', async () => {
    const frames: Uint8Array[] = []
    const got = Promise.withResolvers<void>()
    const accepted = Promise.withResolvers<readonly [Socket, Socket]>()
    const { server, peer } = await listening((socket) => {
      const reader = new StreamReader(1 << 24, {
        opening: () => {},
        frame: (frame) => {
          frames.push(frame)
          if (frames.length === 3) got.resolve()
        },
      })
      accepted.resolve([socket, readInto(socket, reader, (take) => take())])
    })
    const sizes = [10, 300_000, 200_000]
    peer.write(encodeOpening(1))
    for (const [mark, size] of sizes.entries()) {
      const prefix = Buffer.alloc(4)
      prefix.writeUInt32BE(size)
      peer.write(prefix)
      peer.write(new Uint8Array(size).fill(mark + 1))
    }
    await got.promise
    expect(frames.map((frame) => [frame.length, frame[0], frame.at(-1)])).toEqual([
      [10, 1, 1],
      [300_000, 2, 2],
      [200_000, 3, 3],
    ])
    expect(frames.slice(1).map(({ buffer }) => buffer.byteLength)).toEqual([300_000, 200_000])
    const [before, after] = await accepted.promise
    expect(after).not.toBe(before)
    after.write('answered')
    expect(String((await once(peer, 'data'))[0])).toBe('answered')
    const closed = [once(after, 'close'), once(server, 'close')]
    peer.end()
    server.close()
    await Promise.all(closed)
  })

  it('is the accepted one where it cannot be taken over', async () => {
    const got = Promise.withResolvers<Uint8Array>()
    const { peer } = await listening((socket) => {
      const reader = new StreamReader(100, { opening: () => {}, frame: got.resolve })
      Object.defineProperty(socket, '_handle', { value: undefined, writable: true, configurable: true })
      const other = { on: socket.on.bind(socket) } as unknown as Socket
      expect(readInto(other, reader, (take) => take())).toBe(socket)
      socket.emit('data', Buffer.concat([encodeOpening(1), Uint8Array.of(0, 0, 0, 1, 42)]))
    })
    expect(await got.promise).toEqual(Buffer.of(42))
    peer.destroy()
  })

  it('yields when frames take long, and goes on; who has paused it meanwhile resumes it', async () => {
    const frames: number[] = []
    let socket: Socket | undefined
    const { peer } = await listening((accepted) => {
      const reader = new StreamReader(1 << 20, {
        opening: () => {},
        frame: (frame) => {
          frames.push(frame[0])
          for (const untilMs = performance.now() + 25; performance.now() < untilMs; );
          if (frame[0] === 2) (socket as Socket).pause()
        },
      })
      socket = readInto(accepted, reader, (take) => take())
    })
    const send = (mark: number): void => {
      peer.write(Uint8Array.of(0, 0, 0, 1, mark))
    }
    peer.write(encodeOpening(1))
    send(1)
    await expect.poll(() => frames).toEqual([1])
    send(2)
    await expect.poll(() => frames).toEqual([1, 2])
    send(3)
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
    expect(frames).toEqual([1, 2])
    ;(socket as unknown as Socket).resume()
    await expect.poll(() => frames).toEqual([1, 2, 3])
    peer.destroy()
  })
})

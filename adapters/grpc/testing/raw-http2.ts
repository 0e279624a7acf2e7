/** A client of HTTP/2 whose frames are a test's, and what it is answered. */
import { once } from 'node:events'
import net from 'node:net'
import { frameOf, frameType, preface } from '../http2/frames.ts'

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly id: number
  readonly payload: Buffer
}

/** `:method POST`, `:scheme http`, and the others without compression. */
export const requestBlock = (path: string, headers: Readonly<Record<string, string>> = {}): Buffer =>
  Buffer.concat([
    Buffer.of(0x83, 0x86),
    ...Object.entries({ ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers }).map(
      ([name, value]) =>
        Buffer.concat([
          Buffer.of(0, name.length),
          Buffer.from(name),
          Buffer.of(value.length),
          Buffer.from(value),
        ]),
    ),
  ])

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** Settings by their numbers. */
export const settings = (...pairs: readonly (readonly [number, number])[]): Buffer =>
  frameOf(
    frameType.SETTINGS,
    0,
    0,
    Buffer.concat(pairs.map(([id, value]) => Buffer.concat([Buffer.of(0, id), uint32(value)]))),
  )

export class RawHttp2 {
  readonly frames: Frame[] = []
  readonly #socket: net.Socket
  #rest: Buffer = Buffer.alloc(0)
  #waiting: (() => void)[] = []
  isClosed = false

  private constructor(socket: net.Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#came(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.isClosed = true
      this.#wake()
    })
  }

  /** @param greeting what it begins with: what clients begin with, and settings that change nothing */
  static async connect(
    port: number,
    greeting: Uint8Array = Buffer.concat([preface, settings()]),
  ): Promise<RawHttp2> {
    const socket = net.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    const client = new RawHttp2(socket)
    client.write(greeting)
    return client
  }

  write(...bytes: Uint8Array[]): void {
    this.#socket.write(Buffer.concat(bytes))
  }

  send(type: number, flags: number, id: number, payload: Uint8Array = Buffer.alloc(0)): void {
    this.write(frameOf(type, flags, id, payload))
  }

  /** The first frame that was not asked for yet and is of this type; `undefined` when the connection ends without it. */
  async next(type: number): Promise<Frame | undefined> {
    for (;;) {
      const at = this.frames.findIndex((frame) => frame.type === type)
      if (at !== -1) return this.frames.splice(at, 1)[0]
      if (this.isClosed) return undefined
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  /** The code that the connection is ended with. */
  async goodbye(): Promise<number | undefined> {
    return (await this.next(frameType.GOAWAY))?.payload.readUInt32BE(4)
  }

  /** The code that the next stream is cut with. */
  async cut(): Promise<number | undefined> {
    return (await this.next(frameType.RST_STREAM))?.payload.readUInt32BE(0)
  }

  /** True when everything that was sent is carried out and the connection lives. */
  async lives(): Promise<boolean> {
    const mark = Buffer.alloc(8, 0x5a)
    this.send(frameType.PING, 0, 0, mark)
    for (;;) {
      const answer = await this.next(frameType.PING)
      if (answer === undefined) return false
      if (answer.payload.equals(mark)) return true
    }
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #came(chunk: Buffer): void {
    let rest = Buffer.concat([this.#rest, chunk])
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const end = 9 + rest.readUIntBE(0, 3)
      this.frames.push({
        type: rest[3],
        flags: rest[4],
        id: rest.readUInt32BE(5),
        payload: rest.subarray(9, end),
      })
      rest = rest.subarray(end)
    }
    this.#rest = rest
    this.#wake()
  }
}

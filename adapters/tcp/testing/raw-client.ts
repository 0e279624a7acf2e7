/** A client for tests that does nothing by itself: it sends the bytes it is told, and keeps what comes, cut into frames. */
import { connect, type Socket } from 'node:net'
import { type BoundAddress, encodeOpening, StreamReader, utf8, utf8Text } from 'ratatoskr/ports'
import { onTestFinished } from 'vitest'

export type JsonFrame = Readonly<Record<string, unknown>>

export class RawClient {
  readonly socket: Socket
  /** The first of what came, as bytes. */
  received = Buffer.alloc(0)
  readonly frames: Uint8Array[] = []
  readonly closed: Promise<void>
  #wake = Promise.withResolvers<void>()
  #over = false

  private constructor(socket: Socket) {
    this.socket = socket
    const reader = new StreamReader(1 << 30, {
      opening: () => {},
      frame: (frame) => this.frames.push(new Uint8Array(frame)),
    })
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      if (this.received.length < 4_096) this.received = Buffer.concat([this.received, chunk])
      try {
        reader.push(chunk)
      } catch {
        // What came is none of ours: `received` has it.
      }
      this.#stir()
    })
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#over = true
        this.#stir()
        resolve()
      })
    })
  }

  static async open({ host, port }: BoundAddress): Promise<RawClient> {
    const socket = port === 0 ? connect({ path: host }) : connect({ host, port })
    const client = new RawClient(socket)
    onTestFinished(() => void socket.destroy())
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return client
  }

  /** One that has said who it is. */
  static async begun(address: BoundAddress, frameBytesMax = 1 << 30): Promise<RawClient> {
    const client = await RawClient.open(address)
    client.socket.write(encodeOpening(frameBytesMax))
    client.say({ op: 'hello', id: 0 })
    await client.take(({ id }) => id === 0)
    return client
  }

  say(frame: object): void {
    this.send(utf8(JSON.stringify(frame)))
  }

  send(frame: Uint8Array): void {
    const prefix = Buffer.alloc(4)
    prefix.writeUInt32BE(frame.length)
    this.socket.write(Buffer.concat([prefix, frame]))
  }

  async ask(op: string, fields: object = {}, id = 77): Promise<JsonFrame> {
    this.say({ op, id, ...fields })
    const reply = await this.take((frame) => frame.id === id)
    return (reply.ok ?? reply.error) as JsonFrame
  }

  /** The first text frame that fits, waiting for it. */
  async take(fits: (frame: JsonFrame) => boolean): Promise<JsonFrame> {
    for (;;) {
      for (const [place, bytes] of this.frames.entries()) {
        if (bytes[0] !== 0x7b) continue
        const frame = JSON.parse(utf8Text(bytes)) as JsonFrame
        if (!fits(frame)) continue
        this.frames.splice(place, 1)
        return frame
      }
      if (this.#over) throw new Error('the connection closed before the frame came')
      await this.#wake.promise
    }
  }

  #stir(): void {
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }
}

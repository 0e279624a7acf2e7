/** A WebSocket client for tests that does nothing by itself: it sends what it is told and keeps what comes. */
import { connect as connectTcp, type Socket } from 'node:net'
import { jsonSubprotocol } from 'ratatoskr/ports'
import { type ClientOptions, WebSocket } from 'ws'

export type JsonFrame = Readonly<Record<string, unknown>>

export interface Closing {
  readonly code: number
  readonly reason: string
}

export class RawClient {
  readonly ws: WebSocket
  readonly closed: Promise<Closing>
  /** Everything that came and was not taken yet: objects of text frames, bytes of binary frames. */
  readonly #frames: (JsonFrame | Uint8Array)[] = []
  #wake: (() => void) | undefined
  #id = 0

  private constructor(ws: WebSocket) {
    this.ws = ws
    ws.on('message', (data: Buffer, binary: boolean) => {
      this.#frames.push(binary ? new Uint8Array(data) : (JSON.parse(data.toString()) as JsonFrame))
      this.#wake?.()
    })
    this.closed = new Promise((resolve) => {
      ws.once('close', (code, reason) => {
        resolve({ code, reason: reason.toString() })
        this.#wake?.()
      })
    })
    ws.on('error', () => {}) // `closed` tells
  }

  static async open(
    url: string,
    protocol = jsonSubprotocol,
    options: ClientOptions = {},
  ): Promise<RawClient> {
    const client = new RawClient(new WebSocket(url, protocol, { perMessageDeflate: false, ...options }))
    await new Promise<void>((resolve, reject) => {
      client.ws.once('open', resolve)
      client.ws.once('error', reject)
    })
    return client
  }

  /** Sends a frame as it is. */
  send(frame: string | Uint8Array): void {
    this.ws.send(frame)
  }

  say(frame: object): void {
    this.send(JSON.stringify(frame))
  }

  /** Asks, and resolves to the reply: `ok` or `error`. */
  async ask(op: string, fields: object = {}): Promise<JsonFrame> {
    const id = ++this.#id
    this.say({ op, id, ...fields })
    const reply = await this.take((frame) => frame.id === id)
    return (reply.ok ?? reply.error) as JsonFrame
  }

  /** The first text frame that fits, waiting for it; frames before it stay. */
  async take(fits: (frame: JsonFrame) => boolean = () => true): Promise<JsonFrame> {
    const found = await this.#first(
      (frame): frame is JsonFrame => !(frame instanceof Uint8Array) && fits(frame),
    )
    return found
  }

  async takeBinary(): Promise<Uint8Array> {
    return this.#first((frame): frame is Uint8Array => frame instanceof Uint8Array)
  }

  takeEvent(event: string): Promise<JsonFrame> {
    return this.take((frame) => frame.event === event)
  }

  /** Frames that came and were not taken. */
  get untaken(): number {
    return this.#frames.length
  }

  async close(): Promise<void> {
    this.ws.close()
    await this.closed
  }

  async #first<Kind extends JsonFrame | Uint8Array>(
    fits: (frame: JsonFrame | Uint8Array) => frame is Kind,
  ): Promise<Kind> {
    for (;;) {
      const at = this.#frames.findIndex(fits)
      if (at !== -1) return this.#frames.splice(at, 1)[0] as Kind
      if (this.ws.readyState === WebSocket.CLOSED)
        throw new Error('the connection closed before the frame came')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

/** Does the opening handshake on a bare socket. @returns the socket, and what came until the blank line and after it */
export async function bareHandshake(
  port: number,
  headers: Readonly<Record<string, string>> = { 'sec-websocket-protocol': jsonSubprotocol },
): Promise<{ readonly socket: Socket; readonly answer: string }> {
  const socket = connectTcp(port, '127.0.0.1')
  const lines = [
    'GET / HTTP/1.1',
    'host: localhost',
    'connection: upgrade',
    'upgrade: websocket',
    'sec-websocket-version: 13',
    'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  let answer = ''
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      answer += chunk.toString('latin1')
      if (!answer.includes('\r\n\r\n')) return
      const length = /content-length: (\d+)/.exec(answer)?.[1]
      const bodyStart = answer.indexOf('\r\n\r\n') + 4
      if (length !== undefined && answer.length < bodyStart + Number(length)) return
      socket.off('data', read)
      resolve()
    }
    socket.on('data', read)
    socket.once('error', reject)
    socket.once('close', () => resolve())
  })
  return { socket, answer }
}

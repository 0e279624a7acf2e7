/**
 * What `ws` takes for the socket to a broker: it sees of what comes all but the binary messages in one frame, which go to the
 * link straight from where they were read (see `WebSocketSplitter`). A library that puts messages together from what a stream
 * brings copies each byte of them once more, and a batch is some hundred thousand.
 *
 * The answer to the handshake is HTTP and comes first. It is handed on piece by piece, each up to the end of a head, so that
 * who reads it takes the connection over before anything that follows is looked at.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { type WebSocketEvents, WebSocketSplitter } from '../../ports/index.ts'

const headEnd = '\r\n\r\n'
const handshakeBytes = 4 * 1024

interface SplitStreamOptions {
  /** Where to connect to; `wss:` for TLS. */
  readonly url: URL
  /** Largest message that is taken out; what is longer goes on, to be refused. */
  readonly payloadBytesMax: number
  /** Takes binary messages, the receiver's from there on. */
  readonly binary: (payload: Uint8Array) => void
}

export class SplitStream extends Duplex implements WebSocketEvents {
  /** The socket to write frames to. */
  readonly socket: Socket
  readonly binary: (payload: Uint8Array) => void
  readonly #splitter: WebSocketSplitter
  #upgraded = false
  /** True when of what was read now something else came: who breaks the rules is noticed only after it. */
  #others = false
  /** Bytes of the end of a head that came last. */
  #matched = 0
  /** Where the handshake is read to; undefined as soon as another place was given. */
  #handshake: Uint8Array | undefined = Buffer.allocUnsafeSlow(handshakeBytes)

  constructor({ url, payloadBytesMax, binary }: SplitStreamOptions) {
    super({ allowHalfOpen: true })
    this.binary = binary
    this.#splitter = new WebSocketSplitter('server', payloadBytesMax, this, unfilled)
    this.socket = this.#connected(url)
    this.socket.on('end', () => this.push(null))
    this.socket.on('error', (error) => this.destroy(error))
    this.socket.on('close', () => this.destroy())
  }

  /** From here on what comes is frames. */
  upgraded(): void {
    this.#upgraded = true
  }

  other(bytes: Uint8Array, borrowed: boolean): void {
    this.#others = true
    this.push(borrowed ? new Uint8Array(bytes) : bytes)
  }

  get mayPass(): boolean {
    return !this.#others && this.readableLength === 0
  }

  override pause(): this {
    this.socket.pause()
    return super.pause()
  }

  override resume(): this {
    this.socket.resume()
    return super.resume()
  }

  /** What comes is pushed as it comes. */
  override _read(): void {}

  /** The request and control frames: they go behind what was written, and nobody waits for them. */
  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: () => void): void {
    this.socket.write(chunk)
    done()
  }

  override _final(done: () => void): void {
    this.socket.end(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroy()
    done(error)
  }

  /** Of TLS the bytes come as they are decrypted; others are read where they belong. */
  #connected(url: URL): Socket {
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
    const address = { host, noDelay: true }
    if (url.protocol === 'wss:') {
      const servername = isIP(host) === 0 ? host : ''
      return connectTls({ ...address, port: Number(url.port || 443), servername }).on(
        'data',
        (chunk: Buffer) => this.#take(chunk),
      )
    }
    const onread = {
      buffer: () => this.#buffer(),
      callback: (bytes: number) => {
        if (this.#handshake === undefined) this.#filled(bytes)
        else this.#take(new Uint8Array(this.#handshake.subarray(0, bytes)))
        return true
      },
    }
    return connectTcp({ ...address, port: Number(url.port || 80), onread })
  }

  #buffer(): Uint8Array {
    if (this.#upgraded) this.#handshake = undefined
    return this.#handshake ?? this.#splitter.buffer()
  }

  /** Takes so many bytes that were read into what the splitter gave. */
  #filled(bytes: number): void {
    this.#others = false
    this.#splitter.filled(bytes)
  }

  /** Takes bytes that nobody else has. */
  #take(chunk: Uint8Array): void {
    this.#others = false
    let at = 0
    while (!this.#upgraded && at < chunk.length) {
      const end = this.#endOfHead(chunk, at)
      this.push(chunk.subarray(at, end))
      at = end
    }
    if (at < chunk.length) this.#splitter.push(at === 0 ? chunk : chunk.subarray(at))
  }

  /** The place after the next head, or the end of the chunk. */
  #endOfHead(chunk: Uint8Array, start: number): number {
    for (let at = start; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte === headEnd.charCodeAt(this.#matched)) this.#matched++
      else this.#matched = byte === headEnd.charCodeAt(0) ? 1 : 0
      if (this.#matched < headEnd.length) continue
      this.#matched = 0
      return at + 1
    }
    return chunk.length
  }
}

/** Bytes for what is read. Zeroing them would cost as much as copying them. */
const unfilled = (bytes: number): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)

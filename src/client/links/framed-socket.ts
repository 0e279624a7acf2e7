/**
 * Frames on a stream of Node, each behind the header that the protocol wants. What is sent until the current work is done goes
 * out in one system call, and a batch without being copied.
 */
import type { Duplex } from 'node:stream'
import type { WireSocket } from './wire-socket.ts'

const closeTimeoutMs = 2_000
/** To copy a small body costs less than one more piece for the socket. */
const copiedBodyBytesMax = 2 * 1024

/** What stands before a frame. */
export interface FrameHeader {
  bytes(length: number): number
  /** Writes it at the beginning of `target`. */
  write(target: Uint8Array, text: boolean, length: number): void
}

export class FramedSocket implements WireSocket {
  protected readonly stream: Duplex
  readonly #header: FrameHeader
  #corked = false
  #closed = false

  constructor(stream: Duplex, header: FrameHeader) {
    this.stream = stream
    this.#header = header
  }

  sendText(text: string): void {
    const size = Buffer.byteLength(text)
    const start = this.#header.bytes(size)
    const frame = Buffer.allocUnsafe(start + size)
    this.#header.write(frame, true, size)
    frame.write(text, start)
    this.#write(frame)
  }

  sendBinary(head: Uint8Array, body?: Uint8Array): void {
    const bodyBytes = body?.length ?? 0
    const copied = body !== undefined && bodyBytes <= copiedBodyBytesMax
    const at = this.#header.bytes(head.length + bodyBytes)
    const start = Buffer.allocUnsafe(at + head.length + (copied ? bodyBytes : 0))
    this.#header.write(start, false, head.length + bodyBytes)
    start.set(head, at)
    if (copied) start.set(body, at + head.length)
    this.#write(start)
    if (body !== undefined && !copied) this.#write(body)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.end()
  }

  /** Ends the stream behind what was written, and cuts it when the peer does not end it too. */
  protected end(): void {
    this.stream.end()
    setTimeout(() => this.stream.destroy(), closeTimeoutMs).unref()
  }

  #write(bytes: Uint8Array): void {
    if (this.#closed || !this.stream.writable) return // who waits for an answer hears of the end
    if (!this.#corked) {
      this.#corked = true
      this.stream.cork()
      process.nextTick(this.#release)
    }
    this.stream.write(bytes)
  }

  readonly #release = (): void => {
    this.#corked = false
    this.stream.uncork()
  }
}

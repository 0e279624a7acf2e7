/**
 * What a connection sends: WebSocket frames (RFC 6455 section 5.2) written to the socket, from the broker and therefore
 * unmasked, so that a batch goes out behind its header without being copied.
 *
 * Replies go at once. Deliveries wait for each other: while what was written last has not reached the kernel, the next
 * stands in line, so that a slow reader holds one delivery in the socket and everybody's replies still get through.
 * `ws` itself writes only control frames, whole and synchronously, so that frames never mix.
 */
import type { Duplex } from 'node:stream'
import type { MaybePromise } from 'ratatoskr/ports'

const textFrame = 0x81 // FIN and opcode 1
const binaryFrame = 0x82 // FIN and opcode 2

/** Below this, deliveries follow each other without waiting: small ones then share a system call. */
const flowingBytesMax = 64 * 1024

interface Waiting {
  readonly head: Uint8Array
  readonly body: Uint8Array | undefined
  readonly taken: () => void
}

export interface OutboundBound {
  /** Bytes that the kernel has not taken. */
  readonly pendingBytesMax: number
  /** Called when a reply went above the bound. */
  full(): void
}

export class SocketWriter {
  readonly #socket: Duplex
  readonly #bound: OutboundBound
  readonly #line: Waiting[] = []
  #corked = false
  #closed = false
  /** Settles the delivery that the kernel has not taken yet. */
  #taken: (() => void) | undefined

  constructor(socket: Duplex, bound: OutboundBound) {
    this.#socket = socket
    this.#bound = bound
  }

  /** Bytes that the kernel has not taken yet. */
  get pendingBytes(): number {
    return this.#socket.writableLength
  }

  /** Sends a text frame at once. */
  text(text: string): void {
    this.#reply(textMessage(text))
  }

  /** Sends a binary frame at once. */
  binary(frame: Uint8Array): void {
    this.#reply(withHeader(binaryFrame, frame, 0))
  }

  /** Sends a text frame in turn. @returns a promise while there is no room for more */
  deliverText(text: string): MaybePromise<void> {
    return this.#deliver(textMessage(text), undefined)
  }

  /** Sends a binary frame of two parts in turn, the second without a copy. @returns as `deliverText` */
  deliverBinary(head: Uint8Array, body: Uint8Array): MaybePromise<void> {
    return this.#deliver(withHeader(binaryFrame, head, body.length), body)
  }

  #reply(frame: Uint8Array): void {
    this.#write(frame, undefined)
    if (this.pendingBytes > this.#bound.pendingBytesMax) this.#bound.full()
  }

  /** Resolves when no delivery stands in line. */
  async idle(): Promise<void> {
    await this.#deliver(new Uint8Array(0), undefined)
  }

  /** Sends nothing more, and settles what waits. */
  close(): void {
    this.#closed = true
    this.#taken?.()
    for (const waiting of this.#line.splice(0)) waiting.taken()
  }

  #deliver(head: Uint8Array, body: Uint8Array | undefined): MaybePromise<void> {
    if (this.#taken === undefined) return this.#writeDelivery(head, body)
    return new Promise((taken) => this.#line.push({ head, body, taken }))
  }

  #writeDelivery(head: Uint8Array, body: Uint8Array | undefined): MaybePromise<void> {
    if (this.#closed) return
    if (this.pendingBytes + head.length + (body?.length ?? 0) < flowingBytesMax) {
      this.#write(head, body)
      return
    }
    return new Promise((resolve) => {
      const taken = (): void => {
        if (this.#taken !== taken) return
        this.#taken = undefined
        resolve()
        this.#next()
      }
      this.#taken = taken
      this.#write(head, body, taken)
    })
  }

  #next(): void {
    while (this.#taken === undefined) {
      const waiting = this.#line.shift()
      if (waiting === undefined) return
      const full = this.#writeDelivery(waiting.head, waiting.body)
      if (full === undefined) waiting.taken()
      else void full.then(waiting.taken)
    }
  }

  #write(head: Uint8Array, body: Uint8Array | undefined, taken?: () => void): void {
    if (this.#closed) return
    this.#cork()
    if (body === undefined || body.length === 0) this.#socket.write(head, taken)
    else {
      this.#socket.write(head)
      this.#socket.write(body, taken)
    }
  }

  /** Gathers what is sent until the current work is done into one system call. */
  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
    process.nextTick(() => {
      this.#corked = false
      this.#socket.uncork()
    })
  }
}

function textMessage(text: string): Uint8Array {
  const length = Buffer.byteLength(text)
  const size = headerSize(length)
  const frame = Buffer.allocUnsafe(size + length)
  writeHeader(frame, textFrame, length)
  frame.write(text, size)
  return frame
}

/** A frame's header and the first part of its payload; `rest` bytes of payload follow. */
function withHeader(first: number, part: Uint8Array, rest: number): Uint8Array {
  const length = part.length + rest
  const size = headerSize(length)
  const frame = Buffer.allocUnsafe(size + part.length)
  writeHeader(frame, first, length)
  frame.set(part, size)
  return frame
}

const headerSize = (length: number): number => (length < 126 ? 2 : length < 65_536 ? 4 : 10)

function writeHeader(frame: Buffer, first: number, length: number): void {
  frame[0] = first
  if (length < 126) frame[1] = length
  else if (length < 65_536) {
    frame[1] = 126
    frame.writeUInt16BE(length, 2)
  } else {
    frame[1] = 127
    frame.writeUInt16BE(0, 2)
    frame.writeUIntBE(length, 4, 6)
  }
}

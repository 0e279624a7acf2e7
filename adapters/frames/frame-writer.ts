/**
 * What a connection sends: each frame behind the header that its carrier wants, so that a batch goes out without being copied.
 *
 * Replies go at once. Deliveries wait for each other: while what was written last has not reached the kernel, the next
 * stands in line, so that a slow reader holds one delivery in the socket and everybody's replies still get through.
 * A carrier may write frames of its own between these, whole and synchronously, so that frames never mix.
 */
import type { MaybePromise } from 'ratatoskr/ports'
import { giveBackBytes, RatatoskrError } from 'ratatoskr/ports'
import type { ByteSink, Framing } from './carrier.ts'

/** Below this, deliveries follow each other without waiting: small ones then share a system call. */
const flowingBytesMax = 64 * 1024

/** A smaller body is copied behind its head: that costs less than what the socket does for one more piece. */
const copiedBodyBytesMax = 2 * 1024

interface Waiting {
  readonly head: Uint8Array
  readonly body: Uint8Array | undefined
  readonly lent: boolean
  readonly taken: () => void
}

/** Where requests come from, whose replies are written. */
export interface Requester {
  /** Takes no more of them until the sink has taken what was written. */
  pause(): void
}

export class FrameWriter {
  readonly #sink: ByteSink
  readonly #framing: Framing
  readonly #pendingBytesMax: number
  readonly #requester: Requester
  readonly #line: Waiting[] = []
  /** The largest delivery that the peer takes, in bytes. */
  frameBytesMax = Number.POSITIVE_INFINITY
  #corked = false
  /** True when what is gathered goes as soon as the current work is done. */
  #releasing = false
  #closed = false
  /** Settles the delivery that the kernel has not taken yet. */
  #taken: (() => void) | undefined

  /** @param pendingBytesMax bytes that the kernel has not taken above which `requester` is paused by a reply */
  constructor(sink: ByteSink, framing: Framing, pendingBytesMax: number, requester: Requester) {
    this.#sink = sink
    this.#framing = framing
    this.#pendingBytesMax = pendingBytesMax
    this.#requester = requester
  }

  /** Bytes that the kernel has not taken yet. */
  get pendingBytes(): number {
    return this.#sink.writableLength
  }

  /** Sends a text frame at once. */
  text(text: string): void {
    this.#reply(this.#text(text))
  }

  /**
   * Sends a binary frame at once.
   * @param awaited true when its receiver can send nothing more before it comes: it goes before what others are given
   */
  binary(frame: Uint8Array, awaited = false): void {
    this.#reply(this.#withHeader(frame, 0))
    if (awaited) this.#releaseSoon()
  }

  /** Sends a text frame in turn. @returns a promise while there is no room for more @throws RTK_BATCH_TOO_LARGE */
  deliverText(text: string): MaybePromise<void> {
    const frame = this.#text(text)
    this.#assertTaken(frame.length)
    return this.#deliver(frame, undefined)
  }

  /**
   * Sends a binary frame of two parts in turn, the second without a copy.
   * @param lent true when the body is to be given back as soon as the sink has taken it; one that is lost with the connection
   *   is not, for nobody tells when the last look at it was
   * @returns and throws as `deliverText`
   */
  deliverBinary(head: Uint8Array, body: Uint8Array, lent = false): MaybePromise<void> {
    this.#assertTaken(head.length + body.length)
    if (body.length > copiedBodyBytesMax) {
      return this.#deliver(this.#withHeader(head, body.length), body, lent)
    }
    const frame = this.#whole(head, body)
    if (lent) giveBackBytes(body)
    return this.#deliver(frame, undefined)
  }

  #reply(frame: Uint8Array): void {
    if (this.#closed) return
    if (this.#gather()) setImmediate(FrameWriter.#release, this)
    this.#sink.write(frame)
    if (this.pendingBytes > this.#pendingBytesMax) this.#requester.pause()
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

  #deliver(head: Uint8Array, body: Uint8Array | undefined, lent = false): MaybePromise<void> {
    if (this.#taken === undefined) return this.#writeDelivery(head, body, lent)
    return new Promise((taken) => this.#line.push({ head, body, lent, taken }))
  }

  #writeDelivery(head: Uint8Array, body: Uint8Array | undefined, lent: boolean): MaybePromise<void> {
    if (this.#closed) return
    if (this.pendingBytes + head.length + (body?.length ?? 0) < flowingBytesMax) {
      this.#write(head, body, lent)
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
      this.#write(head, body, lent, taken)
    })
  }

  #next(): void {
    while (this.#taken === undefined) {
      const waiting = this.#line.shift()
      if (waiting === undefined) return
      const full = this.#writeDelivery(waiting.head, waiting.body, waiting.lent)
      if (full === undefined) waiting.taken()
      else void full.then(waiting.taken)
    }
  }

  #write(head: Uint8Array, body: Uint8Array | undefined, lent: boolean, taken?: () => void): void {
    if (this.#closed) return
    this.#gather()
    this.#releaseSoon()
    if (body === undefined || body.length === 0) {
      this.#sink.write(head, taken)
      return
    }
    this.#sink.write(head)
    if (!lent) this.#sink.write(body, taken)
    else {
      this.#sink.write(body, (error) => {
        if (!error) giveBackBytes(body)
        taken?.()
      })
    }
  }

  /**
   * Gathers what is sent into one system call: deliveries until the current work is done, for somebody waits for each; replies
   * until the turn of the event loop is over, so that what others are given goes first. @returns true when it began to
   */
  #gather(): boolean {
    if (this.#corked) return false
    this.#corked = true
    this.#sink.cork()
    return true
  }

  #releaseSoon(): void {
    if (this.#releasing || !this.#corked) return
    this.#releasing = true
    process.nextTick(FrameWriter.#release, this)
  }

  /** One function for all writers: each connection has one, and most are idle. */
  static readonly #release = (writer: FrameWriter): void => {
    writer.#releasing = false
    if (!writer.#corked) return
    writer.#corked = false
    writer.#sink.uncork()
  }

  #assertTaken(length: number): void {
    if (length <= this.frameBytesMax) return
    throw new RatatoskrError(
      'RTK_BATCH_TOO_LARGE',
      `the client takes frames of at most ${this.frameBytesMax} bytes, and this one has ${length}; raise its frameBytesMax`,
    )
  }

  #text(text: string): Uint8Array {
    const length = Buffer.byteLength(text)
    const size = this.#framing.headerBytes(length)
    const frame = Buffer.allocUnsafe(size + length)
    this.#framing.writeHeader(frame, true, length)
    frame.write(text, size)
    return frame
  }

  /** The header of a binary frame and the first part of it; `rest` bytes of it follow. */
  #withHeader(part: Uint8Array, rest: number): Uint8Array {
    const length = part.length + rest
    const size = this.#framing.headerBytes(length)
    const frame = Buffer.allocUnsafe(size + part.length)
    this.#framing.writeHeader(frame, false, length)
    frame.set(part, size)
    return frame
  }

  #whole(head: Uint8Array, body: Uint8Array): Uint8Array {
    const length = head.length + body.length
    const size = this.#framing.headerBytes(length)
    const frame = Buffer.allocUnsafe(size + length)
    this.#framing.writeHeader(frame, false, length)
    frame.set(head, size)
    frame.set(body, size + head.length)
    return frame
  }
}

/**
 * What `ws` takes for the socket of a connection: it sees of what the client sends all but the batches, which go to the
 * connection straight from where they were read (see `WebSocketSplitter`). A library that puts messages together from what a
 * stream brings copies each byte of them once more, and a batch is some hundred thousand.
 */

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { readInto, takeBytes } from 'ratatoskr/adapters/frames'
import { type WebSocketEvents, WebSocketSplitter } from 'ratatoskr/ports'

/** Whose batches they are. */
export interface SplitReceiver {
  /** The payload of a binary message. */
  binary(payload: Uint8Array): void
  /** Something came, whatever it was. */
  heard(): void
  /** What was written is taken. */
  writable(): void
}

/** Takes the accepted socket over, which is not to be used any more. What its HTTP parser read too far is `head`. */
export class SplitStream extends Duplex implements WebSocketEvents {
  /** The socket to write frames to. */
  readonly socket: Socket
  readonly #splitter: WebSocketSplitter
  #receiver: SplitReceiver | undefined
  /** True when of what was read now something else came: who breaks the rules is noticed only after it. */
  #others = false

  constructor(accepted: Socket, payloadBytesMax: number) {
    super({ allowHalfOpen: true })
    this.#splitter = new WebSocketSplitter('client', payloadBytesMax, this, takeBytes)
    this.socket = readInto(accepted, this.#splitter, (take) => {
      this.#receiver?.heard()
      this.#others = false
      take()
    })
    // One function for all connections each, which finds its own: most connections are idle, and a closure is 56 bytes.
    ;(this.socket as Split)[split] = this
    this.socket.on('end', onEnd)
    this.socket.on('error', onError)
    this.socket.on('close', onClose)
    this.socket.on('drain', onDrain)
  }

  /** Begins to hand on what comes. @param head what came with the handshake */
  begin(receiver: SplitReceiver, head: Uint8Array): void {
    this.#receiver = receiver
    if (head.length > 0) this.#splitter.push(head)
  }

  binary(payload: Uint8Array): void {
    this.#receiver?.binary(payload)
  }

  other(bytes: Uint8Array, borrowed: boolean): void {
    this.#others = true
    this.push(borrowed ? new Uint8Array(bytes) : bytes)
  }

  get mayPass(): boolean {
    return !this.#others && this.readableLength === 0
  }

  /** Everything written before is taken. */
  drained(): void {
    this.#receiver?.writable()
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

  /** Control frames and the answer to the handshake: they go behind what was written, and nobody waits for them. */
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
}

const split = Symbol('stream')
type Split = Socket & { [split]?: SplitStream }

function onEnd(this: Socket): void {
  ;(this as Split)[split]?.push(null)
}

function onError(this: Socket, error: Error): void {
  ;(this as Split)[split]?.destroy(error)
}

function onClose(this: Socket): void {
  ;(this as Split)[split]?.destroy()
}

function onDrain(this: Socket): void {
  ;(this as Split)[split]?.drained()
}

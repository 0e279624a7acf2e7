/**
 * What `ws` takes for the socket of a connection: it sees of what the client sends all but the batches, which go to the
 * connection straight from where they were read (see `WebSocketSplitter`). A library that puts messages together from what a
 * stream brings copies each byte of them once more, and a batch is some hundred thousand.
 */

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { readInto } from 'ratatoskr/adapters/frames'
import { WebSocketSplitter } from 'ratatoskr/ports'

export interface SplitEvents {
  /** The payload of a binary message. */
  binary(payload: Uint8Array): void
  /** Something came, whatever it was. */
  heard(): void
}

/** Takes the accepted socket over, which is not to be used any more. What its HTTP parser read too far is `head`. */
export class SplitStream extends Duplex {
  /** The socket to write frames to. */
  readonly socket: Socket
  readonly #splitter: WebSocketSplitter
  #events: SplitEvents | undefined

  constructor(accepted: Socket, payloadBytesMax: number) {
    super({ allowHalfOpen: true })
    const stream = this
    const events = {
      binary: (payload: Uint8Array) => this.#events?.binary(payload),
      other: (bytes: Uint8Array, borrowed: boolean) => void this.push(borrowed ? bytes.slice() : bytes),
      get mayPass() {
        return stream.readableLength === 0
      },
    }
    this.#splitter = new WebSocketSplitter(payloadBytesMax, events, unfilled)
    this.socket = readInto(accepted, this.#splitter, (take) => {
      this.#events?.heard()
      take()
    })
    this.socket.on('end', () => this.push(null))
    this.socket.on('error', (error) => this.destroy(error))
    this.socket.on('close', () => this.destroy())
  }

  /** Begins to hand on what comes. @param head what came with the handshake */
  begin(events: SplitEvents, head: Uint8Array): void {
    this.#events = events
    if (head.length > 0) this.#splitter.push(head)
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

/** Bytes for what is read. Zeroing them would cost as much as copying them. */
const unfilled = (bytes: number): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)

/** The one message of a request: put together as it comes, without a buffer before it does. */
import { FrameError, framePrefixBytes } from 'ratatoskr/proto'

/**
 * What is allocated before more than that of a message has come, and how much more than has come afterwards: who announces much
 * must also send it.
 */
const firstRoomBytes = 4 * 1024
const roomGrowth = 4
/** A smaller message shares its memory with others: to allocate for each alone costs more than it keeps. */
const sharedBytesMax = 2 * 1024

export class MessageBody {
  readonly #bytesMax: number
  /** What came of the prefix, when it came in pieces. */
  #prefix: Uint8Array | undefined
  #prefixFilled = 0
  #message: Uint8Array | undefined
  #length = 0
  #filled = 0
  isCompressed = false

  /** @param bytesMax largest message to accept */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Takes what came next: a copy of it. @throws FrameError */
  push(chunk: Uint8Array): void {
    let at = 0
    if (this.#message === undefined) {
      at = this.#begin(chunk)
      if (this.#message === undefined) return
    }
    const more = chunk.length - at
    if (this.#filled + more > this.#length) throw new FrameError('a request has more than one message', false)
    if (more === 0) return
    const room = this.#room(this.#filled + more)
    room.set(at === 0 ? chunk : chunk.subarray(at), this.#filled)
    this.#filled += more
  }

  /** Bytes that are kept, or that there is room for. */
  get bytesKept(): number {
    return this.#message?.length ?? 0
  }

  /** The whole message. @throws FrameError when there is none */
  end(): Uint8Array {
    if (this.#message === undefined) throw new FrameError('the request ended without a message', false)
    if (this.#filled < this.#length) throw new FrameError('the request ended within its message', false)
    return this.#message
  }

  /** @returns where the message begins in the chunk */
  #begin(chunk: Uint8Array): number {
    if (this.#prefix === undefined && chunk.length >= framePrefixBytes) {
      this.#start(chunk, chunk.length - framePrefixBytes)
      return framePrefixBytes
    }
    this.#prefix ??= new Uint8Array(framePrefixBytes)
    const part = chunk.subarray(0, framePrefixBytes - this.#prefixFilled)
    this.#prefix.set(part, this.#prefixFilled)
    this.#prefixFilled += part.length
    if (this.#prefixFilled === framePrefixBytes) this.#start(this.#prefix, chunk.length - part.length)
    return part.length
  }

  /** @param come bytes of the message that came with its prefix */
  #start(prefix: Uint8Array, come: number): void {
    const [flag] = prefix
    if (flag > 1) throw new FrameError(`a message begins with ${flag}, which is neither 0 nor 1`, false)
    this.isCompressed = flag === 1
    this.#length = ((prefix[1] << 24) | (prefix[2] << 16) | (prefix[3] << 8) | prefix[4]) >>> 0
    if (this.#length > this.#bytesMax) {
      throw new FrameError(`a message of ${this.#length} bytes is above the limit of ${this.#bytesMax}`, true)
    }
    const room = Math.min(this.#length, Math.max(come, firstRoomBytes))
    this.#message = room > sharedBytesMax ? Buffer.allocUnsafeSlow(room) : Buffer.allocUnsafe(room)
  }

  #room(bytes: number): Uint8Array {
    const message = this.#message as Uint8Array
    if (bytes <= message.length) return message
    const larger = Buffer.allocUnsafeSlow(
      Math.min(this.#length, Math.max(bytes, roomGrowth * message.length)),
    )
    larger.set(message.subarray(0, this.#filled))
    this.#message = larger
    return larger
  }
}

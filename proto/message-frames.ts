/**
 * How gRPC tells messages of a stream apart: before each stand a byte that says whether it is compressed, and its length.
 * Here they are written in parts, so that a batch goes out from where it lies, and put together where they end up: once.
 */

/** A message with what stands before it, in parts that go out one behind the other. */
export type MessageFrame = readonly Uint8Array[]

export const framePrefixBytes = 5
/** To copy a smaller body behind its head costs less than one more piece for the socket. */
const copiedBodyBytesMax = 2 * 1024
/** What is allocated for a message before more than that of it has come: who announces much must also send it. */
const roomBytesMax = 1024 * 1024

/** The frame of a whole message. */
export function frameOf(message: Uint8Array): MessageFrame {
  const head = Buffer.allocUnsafe(framePrefixBytes + message.length)
  writePrefix(head, message.length)
  head.set(message, framePrefixBytes)
  return [head]
}

/**
 * The frame of a message that ends with `body`.
 * @param head room for the prefix, then the message as far as the body
 */
export function frameWithBody(head: Buffer, body: Uint8Array): MessageFrame {
  writePrefix(head, head.length - framePrefixBytes + body.length)
  if (body.length === 0) return [head]
  return body.length > copiedBodyBytesMax ? [head, body] : [Buffer.concat([head, body])]
}

/** The message that a frame carries, in one piece. */
export const messageOf = (frame: MessageFrame): Buffer => Buffer.concat(frame).subarray(framePrefixBytes)

function writePrefix(head: Buffer, length: number): void {
  head[0] = 0
  head.writeUInt32BE(length, 1)
}

/** What comes is not what may come. */
export class FrameError extends Error {
  /** True when a message is larger than it may be; otherwise what stands before it is not what was agreed on. */
  readonly isTooLarge: boolean

  constructor(message: string, isTooLarge: boolean) {
    super(message)
    this.isTooLarge = isTooLarge
  }
}

/** Where small messages come in, many at once. */
const scratchBytes = 4 * 1024
/** What comes while reading is paused, in pieces of this size. */
const heldBytes = 16 * 1024

/**
 * Puts the messages of a stream together: what comes is written where it belongs, which `buffer` tells. Each message is given
 * in bytes of its own, which nothing changes afterwards, and a large one in a buffer of exactly its size.
 */
export class FrameReader {
  readonly #bytesMax: number
  readonly #take: (message: Uint8Array, isCompressed: boolean) => void
  readonly #mayBeCompressed: boolean
  readonly #allocate: (bytes: number) => Uint8Array
  readonly #scratch = Buffer.allocUnsafeSlow(scratchBytes)
  #scratchFilled = 0
  /** The message that is being read, when it is none for the scratch. */
  #body: Uint8Array | undefined
  #bodyBytes = 0
  #bodyFilled = 0
  /** Of the message that is being read. */
  #isCompressed = false
  /** What came while it was paused, or is left of it. */
  readonly #held: Uint8Array[] = []
  #heldBytes = 0
  /** The rest of the last piece, where what comes next fits behind it: who sends single bytes gets no piece for each. */
  #heldRest: Uint8Array | undefined
  /** Given out to be filled while it is paused. */
  #heldRoom: Uint8Array | undefined
  #reading = false
  #paused = false
  #closed = false

  /**
   * @param bytesMax largest message to accept
   * @param take called with each message, one after the other
   * @param mayBeCompressed true when `take` knows what to do with such messages
   * @param allocate makes room for large messages, a buffer for each; it may hold anything
   */
  constructor(
    bytesMax: number,
    take: (message: Uint8Array, isCompressed: boolean) => void,
    mayBeCompressed = false,
    allocate: (bytes: number) => Uint8Array = Buffer.allocUnsafeSlow,
  ) {
    this.#bytesMax = bytesMax
    this.#take = take
    this.#mayBeCompressed = mayBeCompressed
    this.#allocate = allocate
  }

  get isPaused(): boolean {
    return this.#paused
  }

  /** Bytes that are kept: of a message that is not complete, and what waits behind it. */
  get bytesKept(): number {
    return this.#heldBytes + (this.#body === undefined ? 0 : this.#bodyFilled)
  }

  /** True when nothing waits and no message is cut short. */
  get isAtEnd(): boolean {
    return this.#held.length === 0 && this.#scratchFilled === 0 && this.#body === undefined
  }

  /** Where to write what comes next, as much as fits; never empty. `filled` is to be told of it. */
  buffer(): Uint8Array {
    if (this.#closed) return this.#scratch
    if (this.#paused || this.#held.length > 0) {
      this.#heldRoom = this.#heldRest ?? Buffer.allocUnsafe(heldBytes)
      return this.#heldRoom
    }
    this.#heldRoom = undefined
    this.#heldRest = undefined
    return this.#room()
  }

  /** So many bytes were written where `buffer` told last. @throws FrameError */
  filled(bytes: number): void {
    if (this.#closed) return
    if (this.#heldRoom !== undefined) {
      this.#hold(this.#heldRoom, bytes)
      this.#heldRoom = undefined
      this.#work()
    } else this.#came(bytes)
  }

  /** Takes what came elsewhere. @throws FrameError */
  push(chunk: Uint8Array): void {
    if (this.#closed) return
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    this.#heldRest = undefined
    this.#work()
  }

  /** Takes a copy of what came elsewhere. @throws FrameError */
  copy(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length && !this.#closed; ) {
      const body = this.#body
      const isStraight = body !== undefined && !this.#paused && this.#held.length === 0
      // Most of what comes is a part of a large message: no view of the room is made for each.
      const room = isStraight && this.#bodyFilled < body.length ? body : this.buffer()
      const from = room === body ? this.#bodyFilled : 0
      const end = Math.min(chunk.length, at + room.length - from)
      room.set(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end), from)
      if (room === body) {
        this.#heldRest = undefined
        this.#came(end - at)
      } else this.filled(end - at)
      at = end
    }
  }

  /** Gives no more messages until `resume`; what comes meanwhile is kept. */
  pause(): void {
    this.#paused = true
  }

  /** @throws FrameError */
  resume(): void {
    this.#paused = false
    this.#work()
  }

  /** Gives no more messages, and drops what comes; so does a reader that has thrown. */
  close(): void {
    this.#closed = true
    this.#body = undefined
    this.#scratchFilled = 0
    this.#held.length = 0
    this.#heldBytes = 0
    this.#heldRest = undefined
  }

  /** Keeps the bytes at the start of a room, together with the piece before when they follow it. */
  #hold(room: Uint8Array, bytes: number): void {
    const last = this.#held.at(-1)
    if (room === this.#heldRest && last !== undefined) {
      this.#held[this.#held.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + bytes)
    } else this.#held.push(room.subarray(0, bytes))
    this.#heldBytes += bytes
    this.#heldRest = bytes < room.length ? room.subarray(bytes) : undefined
  }

  /** Reads what was held. */
  #work(): void {
    while (!this.#reading && !this.#paused && !this.#closed) {
      if (this.#body !== undefined && this.#bodyFilled === this.#bodyBytes) {
        this.#came(0)
        continue
      }
      const [chunk] = this.#held
      if (chunk === undefined) return
      const room = this.#room()
      const bytes = Math.min(room.length, chunk.length)
      room.set(bytes === chunk.length ? chunk : chunk.subarray(0, bytes))
      if (bytes === chunk.length) this.#held.shift()
      else this.#held[0] = chunk.subarray(bytes)
      this.#heldBytes -= bytes
      this.#came(bytes)
    }
  }

  #room(): Uint8Array {
    if (this.#body === undefined) return this.#scratch.subarray(this.#scratchFilled)
    if (this.#bodyFilled < this.#body.length) return this.#body.subarray(this.#bodyFilled)
    const whole = this.#allocate(this.#bodyBytes)
    whole.set(this.#body)
    this.#body = whole
    return whole.subarray(this.#bodyFilled)
  }

  /** So many bytes are in the room. */
  #came(bytes: number): void {
    this.#reading = true
    try {
      if (this.#body === undefined) {
        this.#scratchFilled += bytes
        this.#readScratch()
      } else {
        this.#bodyFilled += bytes
        if (this.#bodyFilled < this.#bodyBytes || this.#paused) return
        const body = this.#body
        this.#body = undefined
        this.#take(body, this.#isCompressed)
      }
    } catch (error) {
      this.close()
      throw error
    } finally {
      this.#reading = false
    }
  }

  #readScratch(): void {
    const scratch = this.#scratch
    const filled = this.#scratchFilled
    let at = 0
    while (filled - at >= framePrefixBytes && !this.#paused && !this.#closed) {
      const start = at + framePrefixBytes
      const length = this.#lengthAt(at)
      if (start + length > filled) {
        if (framePrefixBytes + length <= scratch.length) break
        this.#begin(length, scratch.subarray(start, filled))
        return
      }
      at = start + length
      this.#take(Buffer.from(scratch.subarray(start, at)), this.#isCompressed)
    }
    if (this.#closed) return
    this.#scratchFilled = 0
    if (this.#paused && at < filled) {
      // What comes next belongs behind what is already held, or else behind this.
      if (this.#held.length === 0) this.#heldRest = undefined
      this.#held.unshift(Buffer.from(scratch.subarray(at, filled)))
      this.#heldBytes += filled - at
    } else {
      scratch.copyWithin(0, at, filled)
      this.#scratchFilled = filled - at
    }
  }

  #lengthAt(at: number): number {
    const flag = this.#scratch[at]
    this.#isCompressed = flag === 1
    if (flag === 1 && !this.#mayBeCompressed)
      throw new FrameError('a message is compressed, which was not agreed on', false)
    if (flag > 1) throw new FrameError(`a message begins with ${flag}, which is neither 0 nor 1`, false)
    const length = this.#scratch.readUInt32BE(at + 1)
    if (length <= this.#bytesMax) return length
    throw new FrameError(`a message of ${length} bytes is above the limit of ${this.#bytesMax}`, true)
  }

  /** A message that the scratch has no room for. */
  #begin(length: number, start: Uint8Array): void {
    // Its own buffer, not a piece of one that is shared: whoever keeps the message keeps nothing else with it.
    this.#body = this.#allocate(Math.min(length, roomBytesMax))
    this.#body.set(start)
    this.#bodyBytes = length
    this.#bodyFilled = start.length
    this.#scratchFilled = 0
  }
}

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
  /** True when a message is larger than it may be; otherwise it says to be compressed, which nobody agreed on. */
  readonly isTooLarge: boolean

  constructor(message: string, isTooLarge: boolean) {
    super(message)
    this.isTooLarge = isTooLarge
  }
}

/**
 * Puts the messages of a stream together from what comes. One that came in one piece is given as a view of it, any other in
 * a buffer of exactly its size; neither changes afterwards.
 */
export class FrameReader {
  readonly #bytesMax: number
  readonly #take: (message: Uint8Array) => void
  readonly #prefix = Buffer.alloc(framePrefixBytes)
  #prefixed = 0
  #body: Uint8Array | undefined
  #filled = 0
  /** What came while it was paused. */
  readonly #waiting: Uint8Array[] = []
  #reading = false
  #paused = false

  /**
   * @param bytesMax largest message to accept
   * @param take called with each message, one after the other
   */
  constructor(bytesMax: number, take: (message: Uint8Array) => void) {
    this.#bytesMax = bytesMax
    this.#take = take
  }

  get isPaused(): boolean {
    return this.#paused
  }

  /** True when nothing waits and no message is cut short. */
  get isAtEnd(): boolean {
    return this.#waiting.length === 0 && this.#prefixed === 0
  }

  /** Takes what came. @throws FrameError */
  push(chunk: Uint8Array): void {
    this.#waiting.push(chunk)
    this.#work()
  }

  /** Gives no more messages until `resume`; what is pushed meanwhile is kept. */
  pause(): void {
    this.#paused = true
  }

  /** @throws FrameError */
  resume(): void {
    this.#paused = false
    this.#work()
  }

  #work(): void {
    if (this.#reading) return
    this.#reading = true
    try {
      for (let chunk = this.#waiting.shift(); chunk !== undefined; chunk = this.#waiting.shift()) {
        const at = this.#read(chunk)
        if (at === chunk.length) continue
        this.#waiting.unshift(chunk.subarray(at))
        return
      }
    } finally {
      this.#reading = false
    }
  }

  /** @returns how far it got: less than all when it was paused */
  #read(chunk: Uint8Array): number {
    let at = 0
    while (at < chunk.length && !this.#paused) {
      at = this.#prefixed < framePrefixBytes ? this.#readPrefix(chunk, at) : this.#readBody(chunk, at)
      if (this.#prefixed === framePrefixBytes && this.#length === 0) this.#give(noBytes)
    }
    return at
  }

  get #length(): number {
    return this.#prefix.readUInt32BE(1)
  }

  #readPrefix(chunk: Uint8Array, start: number): number {
    let at = start
    while (this.#prefixed < framePrefixBytes && at < chunk.length)
      this.#prefix[this.#prefixed++] = chunk[at++]
    if (this.#prefixed < framePrefixBytes) return at
    if (this.#prefix[0] === 1) throw new FrameError('a message is compressed, which was not agreed on', false)
    if (this.#length > this.#bytesMax) {
      throw new FrameError(`a message of ${this.#length} bytes is above the limit of ${this.#bytesMax}`, true)
    }
    return at
  }

  #readBody(chunk: Uint8Array, at: number): number {
    const length = this.#length
    const end = Math.min(chunk.length, at + length - this.#filled)
    const part = chunk.subarray(at, end)
    if (part.length === length) {
      this.#give(part)
      return end
    }
    this.#roomFor(this.#filled + part.length, length).set(part, this.#filled)
    this.#filled += part.length
    if (this.#filled === length && this.#body !== undefined) this.#give(this.#body)
    return end
  }

  #roomFor(bytes: number, length: number): Uint8Array {
    const body = this.#body
    if (body !== undefined && body.length >= bytes) return body
    // Its own buffer, not a piece of one that is shared: whoever keeps the message keeps nothing else with it.
    const larger = Buffer.allocUnsafeSlow(bytes > roomBytesMax ? length : Math.min(length, roomBytesMax))
    if (body !== undefined) larger.set(body)
    this.#body = larger
    return larger
  }

  #give(message: Uint8Array): void {
    this.#prefixed = 0
    this.#filled = 0
    this.#body = undefined
    this.#take(message)
  }
}

const noBytes = new Uint8Array(0)

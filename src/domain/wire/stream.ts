/**
 * How frames travel on a byte stream, such as TCP or a Unix socket: what frames.ts and protocol.ts describe, with a length
 * before each. Both sides begin with an opening of 12 bytes, integers big-endian:
 *
 *     at 0 4 bytes  RTSK
 *     at 4 uint8    version of the stream protocol: 1
 *     at 5 3 bytes  zero
 *     at 8 uint32   the largest frame that this side takes, in bytes
 *
 * The client's comes first; the broker answers with its own when it has read it. The client need not wait for that. Then:
 *
 *     at 0 uint32   length of the frame
 *     at 4          the frame
 *
 * A frame that begins with `{` is the JSON text of a request, reply or event; any other is a binary frame, told by its first
 * byte. The first frame of a client is a `hello`. A frame of no bytes is a sign of life: a client answers each with one.
 */
import { readUint32, writeInt32 } from '../batch/bytes.ts'
import { RatatoskrError } from '../errors.ts'
import { copyOf } from './frame-pool.ts'
import { GrowingFrame } from './growing-frame.ts'

/** What each side sends first. */
export interface StreamOpening {
  readonly version: number
  /** The largest frame that the sender takes, in bytes. */
  readonly frameBytesMax: number
}

export const streamProtocolVersion = 1
/** Bytes before each frame. */
export const framePrefixBytes = 4
/** `{`: no binary frame is of this kind. */
export const textFrameByte = 0x7b

const magic = Uint8Array.of(0x52, 0x54, 0x53, 0x4b) // RTSK
const openingBytes = 12
const uint32Max = 0xffff_ffff
const noBytes = new Uint8Array(0)
/** A frame from this size on is worth a read of its own. */
const largeFrameBytes = 32 * 1024
/** What is read where a large frame may begin: its length and little more, for what is read here must be copied. */
const probeBytes = 4 * 1024
/** What all readers read into where no frame is known: what comes is looked at before anybody else reads. */
let shared: { readonly whole: Uint8Array; readonly probe: Uint8Array } | undefined

/** The opening of this side. */
export function encodeOpening(frameBytesMax: number): Uint8Array {
  const bytes = new Uint8Array(openingBytes)
  bytes.set(magic)
  bytes[4] = streamProtocolVersion
  writeInt32(bytes, 8, Math.min(frameBytesMax, uint32Max))
  return bytes
}

export interface StreamEvents {
  /** Once, before any frame. What it throws, `push` throws. */
  opening(opening: StreamOpening): void
  /** A view on what came: the receiver's from here on. */
  frame(frame: Uint8Array): void
}

/**
 * Cuts a byte stream into its opening and frames.
 *
 * Chunks that somebody else has read go to `push`: a frame that lies whole in one chunk is handed on as a view of it, and
 * one that straddles chunks is copied, once, into an array of its own. Whoever can read into bytes that he is given asks
 * `buffer` where to, and tells `filled`: then a large frame is read straight into its own array, but for its beginning.
 */
export class StreamReader {
  readonly #events: StreamEvents
  readonly #growing: GrowingFrame
  readonly #opening = new Uint8Array(openingBytes)
  readonly #prefix = new Uint8Array(framePrefixBytes)
  /** The largest frame to take, in bytes; may be changed between frames. */
  frameBytesMax: number
  #openingFilled = 0
  #prefixFilled = 0
  /** What `buffer` gave last. */
  #given: Uint8Array | undefined
  /** True while what is read lies in bytes that the next read overwrites. */
  #borrowed = false
  /** True when the frame before was large, so that the next one may be. */
  #large = false
  #closed = false

  /** @param allocate makes room for large frames; it may hold anything, for nobody sees a frame that is not filled */
  constructor(
    frameBytesMax: number,
    events: StreamEvents,
    allocate: (bytes: number) => Uint8Array = (bytes) => new Uint8Array(bytes),
  ) {
    this.frameBytesMax = frameBytesMax
    this.#events = events
    this.#growing = new GrowingFrame(allocate)
  }

  /** The first bytes that came, as many as an opening has at most: they tell what a peer speaks that is none of ours. */
  get beginning(): Uint8Array {
    return this.#opening.subarray(0, this.#openingFilled)
  }

  /**
   * Takes what came.
   * @throws RTK_FRAME_MALFORMED when the peer speaks another protocol, or sends a frame that is too large
   */
  push(chunk: Uint8Array): void {
    let at = this.#openingFilled < openingBytes ? this.#open(chunk) : 0
    if (this.#growing.isUnderWay) at = this.#fill(chunk, at)
    while (at < chunk.length && !this.#closed) {
      if (this.#prefixFilled > 0 || chunk.length - at < framePrefixBytes) {
        this.#prefix[this.#prefixFilled++] = chunk[at++]
        if (this.#prefixFilled < framePrefixBytes) continue
        this.#prefixFilled = 0
        at = this.#begin(readUint32(this.#prefix, 0), chunk, at)
      } else at = this.#begin(readUint32(chunk, at), chunk, at + framePrefixBytes)
    }
  }

  /** Where the next bytes are to be read into; the reader's own. */
  buffer(): Uint8Array {
    if (this.#growing.isUnderWay) {
      this.#given = undefined
      return this.#growing.room()
    }
    if (shared === undefined) {
      const whole = new Uint8Array(64 * 1024)
      shared = { whole, probe: whole.subarray(0, probeBytes) }
    }
    this.#given = this.#large ? shared.probe : shared.whole
    return this.#given
  }

  /** So many bytes were read into what `buffer` gave last. @throws as `push` */
  filled(bytes: number): void {
    const given = this.#given
    if (given === undefined) {
      if (this.#growing.isUnderWay) this.#complete(this.#growing.advance(bytes))
      return
    }
    this.#borrowed = true
    try {
      this.push(given.subarray(0, bytes))
    } finally {
      this.#borrowed = false
    }
  }

  /** Nothing more is handed on. */
  close(): void {
    this.#closed = true
    this.#growing.drop()
  }

  #open(chunk: Uint8Array): number {
    const part = chunk.subarray(0, openingBytes - this.#openingFilled)
    this.#opening.set(part, this.#openingFilled)
    this.#openingFilled += part.length
    const seen = Math.min(this.#openingFilled, magic.length)
    for (let i = 0; i < seen; i++) {
      if (this.#opening[i] !== magic[i]) throw malformed('the peer does not speak the frames of Ratatoskr')
    }
    if (this.#openingFilled === openingBytes) {
      this.#events.opening({ version: this.#opening[4], frameBytesMax: readUint32(this.#opening, 8) })
    }
    return part.length
  }

  /** A frame of this length begins at `at`. @returns the place after what was taken of it */
  #begin(length: number, chunk: Uint8Array, at: number): number {
    if (length > this.frameBytesMax) {
      throw malformed(`a frame has at most ${this.frameBytesMax} bytes here, got ${length}`)
    }
    const end = at + length
    this.#large = length >= largeFrameBytes
    if (end <= chunk.length) {
      if (length === 0) this.#events.frame(noBytes)
      else this.#events.frame(this.#borrowed ? copyOf(chunk, at, end) : chunk.subarray(at, end))
      return end
    }
    this.#growing.begin(length)
    return this.#fill(chunk, at)
  }

  #fill(chunk: Uint8Array, at: number): number {
    const size = this.#growing.partIn(chunk, at)
    this.#complete(this.#growing.copy(chunk, at, size))
    return at + size
  }

  #complete(frame: Uint8Array | undefined): void {
    if (frame !== undefined) this.#events.frame(frame)
  }
}

function malformed(what: string): RatatoskrError {
  return new RatatoskrError('RTK_FRAME_MALFORMED', `the stream cannot be read: ${what}`)
}

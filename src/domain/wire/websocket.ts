/**
 * WebSocket frames as they lie on the wire, RFC 6455 section 5.2, as far as batches need them: a header for each frame that is
 * sent, and the payloads of binary messages that come.
 */
import { readUint32, writeInt16, writeInt32 } from '../batch/bytes.ts'
import { copyOf } from './frame-pool.ts'
import { GrowingFrame } from './growing-frame.ts'

const maskedBit = 0x80
const maskBytes = 4
const textFrame = 0x81 // FIN and opcode 1
const binaryFrame = 0x82 // FIN and opcode 2
const finalBit = 0x80
const opcodeBits = 0x0f
const lengthBits = 0x7f
const headerBytesMax = 14
const uint32Values = 0x1_0000_0000

/** Bytes of the header of a frame with so many bytes of payload. */
export const webSocketHeaderBytes = (length: number, masked: boolean): number =>
  (length < 126 ? 2 : length < 65_536 ? 4 : 10) + (masked ? maskBytes : 0)

/** Writes the header of a whole message. What is masked is so with zeros: its payload goes out as it is. */
export function writeWebSocketHeader(
  target: Uint8Array,
  text: boolean,
  length: number,
  masked: boolean,
): void {
  const mask = masked ? maskedBit : 0
  let at = 2
  target[0] = text ? textFrame : binaryFrame
  if (length < 126) target[1] = mask | length
  else if (length < 65_536) {
    target[1] = mask | 126
    writeInt16(target, 2, length)
    at = 4
  } else {
    target[1] = mask | 127
    writeInt32(target, 2, Math.floor(length / uint32Values))
    writeInt32(target, 6, length)
    at = 10
  }
  if (masked) target.fill(0, at, at + maskBytes)
}

export interface WebSocketEvents {
  /** The payload of a binary message: the receiver's from here on. */
  binary(payload: Uint8Array): void
  /** Bytes of other frames, in order. @param borrowed the next read overwrites them */
  other(bytes: Uint8Array, borrowed: boolean): void
  /** False while other frames wait to be looked at: nothing that came after them may be handed on before. */
  readonly mayPass: boolean
}

/** A payload from this size on is worth a read of its own. */
const largeBytesMin = 32 * 1024
const readBytes = 64 * 1024
/** What is read where a large payload may begin: a header and little more, for what is read here must be copied. */
const probeBytes = 4 * 1024
/** What all splitters read into where no large payload is known: what comes is looked at before anybody else reads. */
let shared: { readonly whole: Uint8Array; readonly probe: Uint8Array } | undefined
/** The header that is being read: of all splitters, for what comes is looked at before anybody else reads. */
const header = new Uint8Array(headerBytesMax)

/** Who sends: clients must mask, and may do it with zeros, as the client of this project does; servers must not. */
type Sender = 'client' | 'server'

/**
 * Takes batches out of what a peer sends, straight into bytes of their own: binary messages in one frame whose bytes are as they
 * were before masking. Everything else goes on as it came, for a WebSocket in full: text, control frames, fragments, payloads to
 * unmask, whatever breaks the rules. As `StreamReader`, it is given chunks by `push`, or says by `buffer` where to read to.
 */
export class WebSocketSplitter {
  readonly #sender: Sender
  readonly #payloadBytesMax: number
  readonly #events: WebSocketEvents
  readonly #allocate: (bytes: number) => Uint8Array
  /** Bytes of the header that are in `header`. */
  #headerFilled = 0
  /** A header that is not complete when a chunk ends. */
  #kept: Uint8Array | undefined
  /** Bytes left of a frame that goes on as it came. */
  #passing = 0
  /** True between the first and the last fragment of a message. */
  #fragmented = false
  /** The payload that is not complete yet. */
  readonly #growing: GrowingFrame
  /** What `buffer` gave last, when it is no payload. */
  #given: Uint8Array | undefined
  #borrowed = false
  #large = false

  /** @param allocate makes room for what comes; it may hold anything, for nobody sees what is not filled */
  constructor(
    sender: Sender,
    payloadBytesMax: number,
    events: WebSocketEvents,
    allocate: (bytes: number) => Uint8Array,
  ) {
    this.#sender = sender
    this.#payloadBytesMax = payloadBytesMax
    this.#events = events
    this.#allocate = allocate
    this.#growing = new GrowingFrame(allocate)
  }

  /** Takes what came. */
  push(chunk: Uint8Array): void {
    let at = this.#growing.isUnderWay ? this.#fill(chunk, 0) : 0
    while (at < chunk.length) {
      if (this.#passing === 0) at = this.#readHeader(chunk, at)
      else at = this.#pass(chunk, at, at)
    }
  }

  /** Where the next bytes are to be read into; the splitter's own. */
  buffer(): Uint8Array {
    if (this.#growing.isUnderWay) {
      this.#given = undefined
      return this.#growing.room()
    }
    if (this.#passing > 0) {
      this.#given = this.#allocate(Math.min(this.#passing, readBytes))
      this.#borrowed = false
      return this.#given
    }
    if (shared === undefined) {
      const whole = new Uint8Array(readBytes)
      shared = { whole, probe: whole.subarray(0, probeBytes) }
    }
    this.#given = this.#large ? shared.probe : shared.whole
    this.#borrowed = true
    return this.#given
  }

  /** So many bytes were read into what `buffer` gave last. */
  filled(bytes: number): void {
    const given = this.#given
    if (given === undefined) {
      if (this.#growing.isUnderWay) this.#complete(this.#growing.advance(bytes))
      return
    }
    this.#given = undefined
    this.push(given.subarray(0, bytes))
    this.#borrowed = false
  }

  /** @returns the place after what was taken */
  #readHeader(chunk: Uint8Array, start: number): number {
    if (this.#kept !== undefined) header.set(this.#kept)
    for (let at = start; at < chunk.length; ) {
      header[this.#headerFilled++] = chunk[at++]
      if (this.#headerFilled < 2 || this.#headerFilled < headerSize(header[1])) continue
      this.#kept = undefined
      return this.#begin(chunk, at)
    }
    this.#kept = header.slice(0, this.#headerFilled)
    return chunk.length
  }

  /** A frame whose header is complete begins: its payload is at `at`. @returns the place after what was taken */
  #begin(chunk: Uint8Array, at: number): number {
    const headerBytes = this.#headerFilled
    const length = lengthInHeader()
    this.#headerFilled = 0
    if (this.#takes(length)) return this.#beginPayload(chunk, at, length)
    const opcode = header[0] & opcodeBits
    if (opcode < 8) this.#fragmented = (header[0] & finalBit) === 0
    this.#large = false
    this.#passing = headerBytes + length
    if (at >= headerBytes) return this.#pass(chunk, at - headerBytes, at)
    // The header began in an earlier chunk.
    this.#passing -= headerBytes
    this.#events.other(header.slice(0, headerBytes), false)
    return at
  }

  /** True for a payload that is handed on from here. */
  #takes(length: number): boolean {
    return (
      header[0] === binaryFrame &&
      (this.#sender === 'client' ? maskedWithZeros() : (header[1] & maskedBit) === 0) &&
      !this.#fragmented &&
      length <= this.#payloadBytesMax &&
      this.#events.mayPass
    )
  }

  /** Hands on bytes of a frame, from `start`. @returns the place after them */
  #pass(chunk: Uint8Array, start: number, at: number): number {
    const end = Math.max(at, Math.min(chunk.length, start + this.#passing))
    this.#passing -= end - start
    this.#events.other(chunk.subarray(start, end), this.#borrowed)
    return end
  }

  #beginPayload(chunk: Uint8Array, at: number, length: number): number {
    const end = at + length
    this.#large = length >= largeBytesMin
    if (end <= chunk.length) {
      this.#events.binary(this.#borrowed ? copyOf(chunk, at, end) : chunk.subarray(at, end))
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

  #complete(payload: Uint8Array | undefined): void {
    if (payload !== undefined) this.#events.binary(payload)
  }
}

/** Bytes of a header, by its second byte. */
function headerSize(second: number): number {
  const length = second & lengthBits
  return (length < 126 ? 2 : length === 126 ? 4 : 10) + ((second & maskedBit) === 0 ? 0 : maskBytes)
}

const maskedWithZeros = (): boolean =>
  (header[1] & maskedBit) !== 0 && readUint32(header, headerSize(header[1]) - maskBytes) === 0

function lengthInHeader(): number {
  const length = header[1] & lengthBits
  if (length < 126) return length
  if (length === 126) return (header[2] << 8) | header[3]
  return readUint32(header, 2) * uint32Values + readUint32(header, 6)
}

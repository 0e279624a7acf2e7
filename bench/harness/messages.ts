/**
 * The messages of a benchmark: each holds its place in the order and when it was made, so that the consumer sees what is
 * missing, what came twice, what is damaged, and how long it took.
 *
 *     at  0 float64  place in the order, from 0
 *     at  8 float64  when it was made, in milliseconds of the clock that all processes share
 *     at 16          filler, the same in all
 */
import type { RecordCursor } from 'ratatoskr/ports'

const fillerStart = 16
export const payloadBytesMin = 24
/** Reading the clock costs as much as encoding a message: so many in a row carry the same time. */
const messagesPerTime = 64
const samplesMax = 1_000_000

/** Milliseconds since the epoch, with fractions: the same clock in all processes of a machine. */
const nowMs = (): number => performance.timeOrigin + performance.now()

const fillerAt = (index: number): number => (index * 31) & 0xff

/** Writes one message after the other into the same bytes. */
export class MessageMaker {
  readonly payload: Uint8Array
  readonly #view: DataView
  /** Messages made so far. */
  count = 0

  constructor(payloadBytes: number) {
    this.payload = Uint8Array.from({ length: payloadBytes }, (_, index) => fillerAt(index))
    this.#view = new DataView(this.payload.buffer)
  }

  /** Makes the next message; the one before is gone. */
  next(): Uint8Array {
    if (this.count % messagesPerTime === 0) this.#view.setFloat64(8, nowMs())
    this.#view.setFloat64(0, this.count++)
    return this.payload
  }
}

/** What the consumer found since the last `windowBegin`. */
export interface Window {
  readonly messages: number
  readonly seconds: number
  readonly latencyMs: Latency
}

export interface Latency {
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

/** What was found over the whole run. */
export interface Findings {
  readonly received: number
  readonly lost: number
  readonly duplicated: number
  /** Came later than one that was made after them. */
  readonly disordered: number
  readonly damaged: number
}

/** Places from `from` up to, not with, `to`. */
interface Gap {
  readonly from: number
  readonly to: number
}

/** Counts and checks what arrives. */
export class MessageChecker {
  readonly #payloadBytes: number
  readonly #samples = new Float64Array(samplesMax)
  #sampleCount = 0
  #view: DataView = new DataView(new ArrayBuffer(0))
  #arrivedMs = 0
  #expected = 0
  /** What was passed over and has not come. */
  #gaps: Gap[] = []
  #duplicated = 0
  #disordered = 0
  #damaged = 0
  #windowStart = 0
  #windowStartMs = 0
  received = 0

  constructor(payloadBytes: number) {
    this.#payloadBytes = payloadBytes
  }

  /** Bytes whose records are checked next. */
  open(bytes: Uint8Array): void {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#arrivedMs = nowMs()
  }

  /** Checks the record that the cursor stands on. */
  check({ bytes, valueStart, valueEnd }: RecordCursor): void {
    this.received++
    const place = this.#view.getFloat64(valueStart)
    if (
      valueEnd - valueStart !== this.#payloadBytes ||
      bytes[valueStart + fillerStart] !== fillerAt(fillerStart) ||
      bytes[valueEnd - 1] !== fillerAt(this.#payloadBytes - 1)
    ) {
      this.#damaged++
      return
    }
    if (place === this.#expected) this.#expected++
    else if (place > this.#expected) {
      this.#gaps.push({ from: this.#expected, to: place })
      this.#expected = place + 1
    } else this.#late(place)
    if (place % messagesPerTime === 0 && this.#sampleCount < samplesMax) {
      this.#samples[this.#sampleCount++] = this.#arrivedMs - this.#view.getFloat64(valueStart + 8)
    }
  }

  /** A batch whose checksum is wrong. */
  damagedBatch(): void {
    this.#damaged++
  }

  windowBegin(): void {
    this.#sampleCount = 0
    this.#windowStart = this.received
    this.#windowStartMs = performance.now()
  }

  windowEnd(): Window {
    return {
      messages: this.received - this.#windowStart,
      seconds: (performance.now() - this.#windowStartMs) / 1_000,
      latencyMs: latencyOf(this.#samples.slice(0, this.#sampleCount)),
    }
  }

  /** @param sent how many were made */
  findings(sent: number): Findings {
    return {
      received: this.received,
      lost: this.#gaps.reduce((sum, { from, to }) => sum + to - from, Math.max(0, sent - this.#expected)),
      duplicated: this.#duplicated,
      disordered: this.#disordered,
      damaged: this.#damaged,
    }
  }

  /** One that others have overtaken, or that was there before. */
  #late(place: number): void {
    const at = this.#gaps.findIndex(({ from, to }) => from <= place && place < to)
    if (at === -1) {
      this.#duplicated++
      return
    }
    this.#disordered++
    const { from, to } = this.#gaps[at]
    const left = [
      { from, to: place },
      { from: place + 1, to },
    ]
    this.#gaps.splice(at, 1, ...left.filter((gap) => gap.from < gap.to))
  }
}

export function latencyOf(samples: Float64Array): Latency {
  samples.sort()
  const at = (part: number): number => {
    if (samples.length === 0) return 0
    return Number(samples[Math.min(samples.length - 1, Math.floor(samples.length * part))].toFixed(3))
  }
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) }
}

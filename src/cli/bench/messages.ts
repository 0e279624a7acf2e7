/**
 * The messages of a benchmark: each holds its place in the order and when it was made, so that the consumer sees what is
 * missing, what came twice, what is damaged, and how long it took.
 *
 *     at  0 float64  place in the order, from 0
 *     at  8 float64  when it was made, in milliseconds of the clock that all processes share
 *     at 16          filler, the same in all
 */
import type { RecordCursor } from '../../ports/index.ts'
import { percentile } from './statistics.ts'

const fillerStart = 16
export const payloadBytesMin = 24
/** Reading the clock costs as much as encoding a message: so many in a row carry the same time, and the first is a sample. */
const messagesPerTime = 64
/** More would be memory for nothing: the first so many of a window tell the rest. */
const samplesMax = 2 ** 22

/** Milliseconds since the epoch, with fractions: the same clock in all processes of a machine. */
export const nowMs = (): number => timeOriginMs + performance.now()

const timeOriginMs = performance.timeOrigin

const fillerAt = (index: number): number => (index * 31) & 0xff

/** Places that each of several makers has for itself: the first begins at 0, the second here, and so on. */
export const placesOfMaker = 2 ** 40

/** Writes one message after the other into the same bytes. */
export class MessageMaker {
  readonly payload: Uint8Array
  readonly #view: DataView
  readonly #first: number
  /** Messages made so far. */
  count = 0

  /** @param first place of the first message, where several makers send through one topic: see `placesOfMaker` */
  constructor(payloadBytes: number, first = 0) {
    this.#first = first
    this.payload = Uint8Array.from({ length: payloadBytes }, (_, index) => fillerAt(index))
    this.#view = new DataView(this.payload.buffer)
  }

  /** Makes the next message; the one before is gone. */
  next(): Uint8Array {
    if (this.count % messagesPerTime === 0) this.#view.setFloat64(8, nowMs())
    this.#view.setFloat64(0, this.#first + this.count++)
    return this.payload
  }

  /**
   * Makes the next message in bytes of its own: a piece of Node's pool, as programs get by `Buffer.from`. Memory apart for
   * each, to be allocated and collected, would cost as much as publishing it.
   */
  copyOfNext(): Uint8Array {
    return Buffer.from(this.next())
  }

  /** The same with the time at which it is due. */
  makeDue(dueMs: number): Uint8Array {
    return Buffer.from(this.nextDue(dueMs))
  }

  /** Makes the next message with the time at which it is due; the one before is gone. */
  nextDue(dueMs: number): Uint8Array {
    this.#view.setFloat64(8, dueMs)
    this.#view.setFloat64(0, this.#first + this.count++)
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

/** Adds up what several consumers found, each of whom was to get everything. */
export function addUp(all: readonly Findings[]): Findings {
  const sum = (field: keyof Findings): number => all.reduce((total, one) => total + one[field], 0)
  return {
    received: sum('received'),
    lost: sum('lost'),
    duplicated: sum('duplicated'),
    disordered: sum('disordered'),
    damaged: sum('damaged'),
  }
}

/** Counts and checks what arrives. */
export class MessageChecker {
  readonly #payloadBytes: number
  readonly #messagesPerSample: number
  readonly #samples = new GrowingSamples()
  readonly #first: number
  /** The head of a single message: a view of its own for each would cost more than copying it here. */
  readonly #head = new Uint8Array(fillerStart)
  readonly #headView = new DataView(this.#head.buffer)
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

  /**
   * @param messagesPerSample 1 when each message has a time of its own
   * @param first place of the first message
   */
  constructor(payloadBytes: number, messagesPerSample: number = messagesPerTime, first = 0) {
    this.#payloadBytes = payloadBytes
    this.#messagesPerSample = messagesPerSample
    this.#first = first
  }

  /** Latencies since the last `windowBegin`, in milliseconds. */
  get samples(): Float64Array {
    return this.#samples.values
  }

  /** Bytes whose records are checked next. */
  open(bytes: Uint8Array): void {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#arrivedMs = nowMs()
  }

  /** Checks the record that the cursor stands on. */
  check({ bytes, valueStart, valueEnd }: RecordCursor): void {
    this.received++
    if (this.#isDamaged(bytes, valueStart, valueEnd)) {
      this.#damaged++
      return
    }
    const place = this.#view.getFloat64(valueStart) - this.#first
    this.#placed(place)
    if (place % this.#messagesPerSample === 0)
      this.#samples.add(this.#arrivedMs - this.#view.getFloat64(valueStart + 8))
  }

  /** Checks a message that came by itself. */
  take(payload: Uint8Array): void {
    this.received++
    if (this.#isDamaged(payload, 0, payload.length)) {
      this.#damaged++
      return
    }
    for (let i = 0; i < fillerStart; i++) this.#head[i] = payload[i]
    const place = this.#headView.getFloat64(0) - this.#first
    this.#placed(place)
    if (place % this.#messagesPerSample === 0) this.#samples.add(nowMs() - this.#headView.getFloat64(8))
  }

  /** A batch whose checksum is wrong. */
  damagedBatch(): void {
    this.#damaged++
  }

  windowBegin(): void {
    this.#samples.clear()
    this.#windowStart = this.received
    this.#windowStartMs = performance.now()
  }

  windowEnd(): Window {
    return {
      messages: this.received - this.#windowStart,
      seconds: (performance.now() - this.#windowStartMs) / 1_000,
      latencyMs: latencyOf(this.samples),
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

  #isDamaged(bytes: Uint8Array, start: number, end: number): boolean {
    return (
      end - start !== this.#payloadBytes ||
      bytes[start + fillerStart] !== fillerAt(fillerStart) ||
      bytes[end - 1] !== fillerAt(this.#payloadBytes - 1)
    )
  }

  #placed(place: number): void {
    if (place === this.#expected) this.#expected++
    else if (place > this.#expected) {
      this.#gaps.push({ from: this.#expected, to: place })
      this.#expected = place + 1
    } else this.#late(place)
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

/** Numbers that are gathered without an object for each, up to so many. */
export class GrowingSamples {
  #values = new Float64Array(1024)
  #count = 0

  add(value: number): void {
    if (this.#count === samplesMax) return
    if (this.#count === this.#values.length) {
      const longer = new Float64Array(this.#count * 2)
      longer.set(this.#values)
      this.#values = longer
    }
    this.#values[this.#count++] = value
  }

  clear(): void {
    this.#count = 0
  }

  get values(): Float64Array {
    return this.#values.slice(0, this.#count)
  }
}

/** @param samples sorted here */
export function latencyOf(samples: Float64Array): Latency {
  samples.sort()
  const at = (part: number): number => Number(percentile(samples, part).toFixed(4))
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) }
}

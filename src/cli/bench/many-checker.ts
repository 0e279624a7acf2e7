/** What a consumer finds in the messages of several makers: each of them numbers its own, in a range of its own. */
import type { RecordCursor } from '../../ports/index.ts'
import type { RecordChecker } from './check-batch.ts'
import { addUp, type Findings, MessageChecker, placesOfMaker } from './messages.ts'

const placeBytes = 8

export class ManyChecker implements RecordChecker {
  readonly #checkers: readonly MessageChecker[]
  readonly #head = new Uint8Array(placeBytes)
  readonly #headView = new DataView(this.#head.buffer)
  /** The bytes that each has opened last. */
  readonly #opened: (Uint8Array | undefined)[]
  #bytes: Uint8Array = new Uint8Array(0)
  #foreign = 0

  /** @param everyTimed each message has a time of its own, and is a sample of the latency */
  constructor(makers: number, payloadBytes: number, everyTimed: boolean) {
    const perSample = everyTimed ? 1 : undefined
    this.#checkers = Array.from(
      { length: makers },
      (_, maker) => new MessageChecker(payloadBytes, perSample, maker * placesOfMaker),
    )
    this.#opened = this.#checkers.map(() => undefined)
  }

  get received(): number {
    return this.#checkers.reduce((sum, { received }) => sum + received, 0)
  }

  receivedOf(maker: number): number {
    return this.#checkers[maker].received
  }

  open(bytes: Uint8Array): void {
    this.#bytes = bytes
  }

  check(record: RecordCursor): void {
    const { bytes, valueStart, valueEnd } = record
    const maker = this.#makerOf(bytes, valueStart, valueEnd)
    const checker = this.#checkers[maker]
    if (checker === undefined) {
      this.#foreign++
      return
    }
    if (this.#opened[maker] !== this.#bytes) {
      this.#opened[maker] = this.#bytes
      checker.open(this.#bytes)
    }
    checker.check(record)
  }

  /** Checks a message that came by itself. */
  take(payload: Uint8Array): void {
    const checker = this.#checkers[this.#makerOf(payload, 0, payload.length)]
    if (checker === undefined) this.#foreign++
    else checker.take(payload)
  }

  damagedBatch(): void {
    this.#checkers[0].damagedBatch()
  }

  windowBegin(): void {
    for (const checker of this.#checkers) checker.windowBegin()
  }

  /** Latencies since the last `windowBegin`, in milliseconds. */
  get samples(): readonly Float64Array[] {
    return this.#checkers.map(({ samples }) => samples)
  }

  /** @param sent how many each maker has made. What no maker of this run has made counts as damaged */
  findings(sent: readonly number[]): Findings {
    const all = addUp(this.#checkers.map((checker, maker) => checker.findings(sent[maker])))
    return { ...all, damaged: all.damaged + this.#foreign }
  }

  #makerOf(bytes: Uint8Array, start: number, end: number): number {
    if (end - start < placeBytes) return -1
    if (this.#checkers.length === 1) return 0
    for (let i = 0; i < placeBytes; i++) this.#head[i] = bytes[start + i]
    return Math.floor(this.#headView.getFloat64(0) / placesOfMaker)
  }
}

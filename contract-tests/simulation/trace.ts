/** What a simulated disk was asked for: a list to assert on, and a hash that two runs of one seed must share. */
import type { DiskCall } from './faults.ts'
import { memoized } from './memo.ts'

/** One call of a disk, after it took effect. */
export interface TracedCall {
  readonly call: DiskCall
  /** For calls on a descriptor the path that it was opened with. */
  readonly path: string
  /** A number that no other descriptor of the same disk has. */
  readonly descriptor: number | undefined
  readonly position: number | undefined
  /** Bytes asked for. */
  readonly bytes: number | undefined
  /** `ok`, the code of the error, or the effect of the fault that the call met. */
  readonly result: string
}

/** What a call is about. */
export interface CallSubject {
  readonly path: string
  readonly descriptor?: number
  readonly position?: number
  readonly bytes?: number
}

/** Two hashes of 32 bits side by side: equal for equal traces, and practically for no others. */
class EventHash {
  #low = 0x811c9dc5
  #high = 0x9e3779b9

  addNumber(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193)
    this.#high = Math.imul(this.#high ^ (value + (this.#low >>> 15)), 0x85ebca6b)
  }

  addText(text: string): void {
    this.addNumber(numberOf(text))
  }

  addBytes(bytes: Uint8Array): void {
    let low = this.#low
    for (let at = 0; at < bytes.length; at++) low = Math.imul(low ^ bytes[at], 0x01000193)
    this.#low = low
    this.addNumber(bytes.length)
  }

  get text(): string {
    return hex(this.#low) + hex(this.#high)
  }
}

/** All calls of one disk. */
export class CallRecord {
  readonly trace: TracedCall[] = []
  readonly hash = new EventHash()
  readonly #keepTrace: boolean

  /** @param keepTrace false keeps no list of calls; the hash goes on */
  constructor(keepTrace = true) {
    this.#keepTrace = keepTrace
  }

  add(call: DiskCall, { path, descriptor, position, bytes }: CallSubject, result: string): void {
    this.hash.addText(call)
    this.hash.addText(path)
    this.hash.addNumber(position ?? -1)
    this.hash.addNumber(bytes ?? -1)
    this.hash.addText(result)
    if (this.#keepTrace) this.trace.push({ call, path, descriptor, position, bytes, result })
  }
}

const numberOf = memoized((text) => {
  let number = 0x811c9dc5
  for (let at = 0; at < text.length; at++) number = Math.imul(number ^ text.charCodeAt(at), 0x01000193)
  return number
})

const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0')

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

/** Two hashes of 32 bits side by side: equal for equal traces, and practically for no others. */
export class EventHash {
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

const numberOf = memoized((text) => {
  let number = 0x811c9dc5
  for (let at = 0; at < text.length; at++) number = Math.imul(number ^ text.charCodeAt(at), 0x01000193)
  return number
})

const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0')

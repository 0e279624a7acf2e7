/** Calls that are held back before they take effect, until they are let go. */
import { type CallFilter, type DiskCall, matches } from './faults.ts'

interface Hold extends CallFilter {
  readonly released: Promise<void>
}

export class Holds {
  #holds: Hold[] = []

  /** @returns what lets the calls go on */
  hold(filter: CallFilter): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    const hold: Hold = { ...filter, released: promise }
    this.#holds.push(hold)
    return () => {
      this.#holds = this.#holds.filter((one) => one !== hold)
      resolve()
    }
  }

  /** What a call has to wait for before it asks again; undefined when nothing holds it. */
  of(call: DiskCall, path: string): Promise<void> | undefined {
    return this.#holds.find((hold) => matches(hold, call, path))?.released
  }
}

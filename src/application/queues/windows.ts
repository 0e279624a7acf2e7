/** The chunks of logs that queue partitions hold: what was of no use for a second is let go of. */
import type { Clock } from '../../ports/index.ts'
import type { HostedPartition } from './hosted-partition.ts'

const idleMs = 1_000

export class Windows {
  readonly #clock: Clock
  readonly #filled = new Set<HostedPartition>()
  #timer: Disposable | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  filled(partition: HostedPartition): void {
    this.#filled.add(partition)
    this.#timer ??= this.#clock.after(idleMs, this.#sweep)
  }

  stop(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#filled.clear()
  }

  readonly #sweep = (): void => {
    this.#timer = undefined
    for (const partition of this.#filled) {
      if (partition.window.takeUsed()) continue
      partition.window.drop()
      this.#filled.delete(partition)
    }
    if (this.#filled.size > 0) this.#timer = this.#clock.after(idleMs, this.#sweep)
  }
}

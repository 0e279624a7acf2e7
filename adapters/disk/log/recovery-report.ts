/** Says once, when the logs of a store are open, what it took to open those that a crash had left. */
import type { Clock, Logger } from 'ratatoskr/ports'

/** Logs are opened one after the other or all at once; after so long without another they are taken for opened. */
const quietMs = 1_000

/** A repair takes the note of the stop away, for it changes what that speaks of. */
const uncleanText = 'the last run did not stop cleanly, or files were repaired since: logs were checked'

export class RecoveryReport {
  readonly #clock: Clock
  readonly #logger: Logger
  #startedMs: number | undefined
  #endedMs = 0
  #logs = 0
  #bytesScanned = 0
  #timer: Disposable | undefined

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock
    this.#logger = logger
  }

  /** The last run did not stop cleanly: from now on what is recovered is reported. */
  begin(): void {
    this.#startedMs = this.#endedMs = this.#clock.monotonic()
    this.#logs = this.#bytesScanned = 0
    this.#arm()
  }

  /** Counts a log that was recovered. */
  add(bytesScanned: number): void {
    if (this.#startedMs === undefined) return
    this.#endedMs = this.#clock.monotonic()
    this.#logs++
    this.#bytesScanned += bytesScanned
    this.#arm()
  }

  /** Reports now what was counted; nothing when there is nothing to report. */
  end(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    if (this.#startedMs === undefined) return
    const durationMs = Math.round(this.#endedMs - this.#startedMs)
    this.#startedMs = undefined
    this.#logger.info(uncleanText, {
      logs: this.#logs,
      bytesScanned: this.#bytesScanned,
      durationMs,
    })
  }

  #arm(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = this.#clock.after(quietMs, () => this.end())
  }
}

/**
 * Remembers that the storage has no room, for health and logs: from the first append that was refused with RTK_STORE_FULL
 * until one is stored, in whatever partition. Nobody knows without writing whether there is room again, so a broker that
 * nobody publishes to goes on reporting what was last seen.
 */
import type { ComponentHealth, Platform } from '../ports/index.ts'

/** A smaller batch than the one that was refused tells little: it counts only when nothing was refused for so long. */
const quietMs = 1_000

export class StorageRoom {
  readonly #platform: Platform
  #full = false
  #refusals = 0
  #refusedBytes = 0
  #refusedAtMs = 0

  constructor(platform: Platform) {
    this.#platform = platform
  }

  /** True from the first refusal on: whoever stored something then says so with `stored`. */
  get full(): boolean {
    return this.#full
  }

  /** Appends that were refused so far: to be taken before an append, for `stored`. */
  get refusals(): number {
    return this.#refusals
  }

  /** Health of the storage while it is full. */
  get trouble(): readonly ComponentHealth[] {
    if (!this.#full) return []
    return [{ name: 'storage', status: 'failed', restarts: 0, lastError: 'RTK_STORE_FULL' }]
  }

  /** An append was refused. */
  refused(sizeBytes: number, error: unknown): void {
    this.#refusals++
    this.#refusedBytes = sizeBytes
    this.#refusedAtMs = this.#platform.clock.monotonic()
    if (this.#full) return
    this.#full = true
    this.#platform.logger.warn(
      'the storage has no room: publishes are refused, reads and deletes go on; publishing resumes by itself when there is space',
      { error },
    )
  }

  /**
   * An append was stored.
   * @param refusalsBefore `refusals` when it began: one that was under way when another was refused proves nothing
   */
  stored(sizeBytes: number, refusalsBefore: number): void {
    if (!this.#full || refusalsBefore !== this.#refusals) return
    const quiet = this.#platform.clock.monotonic() - this.#refusedAtMs >= quietMs
    if (sizeBytes < this.#refusedBytes && !quiet) return
    this.#full = false
    this.#platform.logger.info('the storage has room again: publishing resumed', {
      refusals: this.#refusals,
    })
  }
}

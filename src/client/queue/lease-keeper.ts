/**
 * Keeps leases up while handlers run and messages wait, and tells the broker that this member lives. Both go by timers of
 * their own, whatever handlers do, unless the event loop itself stands still; that is noticed and logged.
 */
import type { Clock, Logger, MaybePromise, Settlement, SettleResult } from '../../ports/index.ts'
import type { HeldBatch } from './held-batch.ts'
import { leaseRange } from './settler.ts'

export interface LeaseKeeperOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** The batches that something is held of. */
  readonly held: Iterable<HeldBatch>
  readonly heartbeat: () => void
  /** Sends extensions; what it throws is of no interest, since whoever ends the leases says so. */
  readonly send: (settlements: readonly Settlement[]) => MaybePromise<readonly SettleResult[]>
  /** The lease ended while an extension had no answer, or nobody came to ask for one. */
  readonly overdue: (batch: HeldBatch) => void
}

/** How late a timer may be before it counts as proof that the event loop stood still. */
const lateMsMax = 1_000
/** What is left of a lease when it is extended, as a part of it. */
const extendAt = 1 / 3
/** How long after an extension that failed the next one is tried, at least. */
const retryAfterMsMin = 100

export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions
  #beat: Disposable | undefined
  #extension: Disposable | undefined
  /** When the extension timer falls due, by the monotonic clock. */
  #extensionAtMs = Number.POSITIVE_INFINITY
  /** How long leases last. A delivery that waited on its way has less left of it, but is extended to the whole. */
  #leaseMs = 1

  constructor(options: LeaseKeeperOptions) {
    this.#options = options
  }

  /** Gives signs of life from now on. What is watched already, since it came while joining, stays so. */
  start(memberTimeoutMs: number): void {
    // Leases that came before the answer to joining are watched already.
    this.#beat?.[Symbol.dispose]()
    this.#beatEvery(Math.max(1, Math.floor(memberTimeoutMs / 3)))
  }

  stop(): void {
    this.#beat?.[Symbol.dispose]()
    this.#beat = undefined
    this.#extension?.[Symbol.dispose]()
    this.#extension = undefined
    this.#extensionAtMs = Number.POSITIVE_INFINITY
  }

  /** Leases of a batch are to be kept up from now on. */
  watch({ endsAtMs, leaseMs }: HeldBatch): void {
    this.#leaseMs = Math.max(this.#leaseMs, leaseMs)
    this.#wakeAt(endsAtMs - this.#leaseMs * extendAt)
  }

  #beatEvery(intervalMs: number): void {
    const { clock, heartbeat } = this.#options
    const dueMs = clock.monotonic() + intervalMs
    this.#beat = clock.after(intervalMs, () => {
      this.#noteLateness(clock.monotonic() - dueMs)
      this.#beatEvery(intervalMs)
      heartbeat()
    })
  }

  #noteLateness(lateMs: number): void {
    if (lateMs <= lateMsMax) return
    this.#options.logger.warn(
      'the event loop of this process stood still: a heartbeat came late; a handler that computes for long is the usual reason',
      { stalledMs: Math.round(lateMs) },
    )
  }

  #wakeAt(atMs: number): void {
    if (atMs >= this.#extensionAtMs) return
    const { clock } = this.#options
    this.#extension?.[Symbol.dispose]()
    this.#extensionAtMs = atMs
    this.#extension = clock.after(Math.max(0, atMs - clock.monotonic()), () => {
      this.#extension = undefined
      this.#extensionAtMs = Number.POSITIVE_INFINITY
      this.#look()
    })
  }

  /** Extends what ends soon, all in one call. */
  #look(): void {
    const nowMs = this.#options.clock.monotonic()
    const due: HeldBatch[] = []
    for (const batch of this.#options.held) {
      const leftMs = batch.endsAtMs - nowMs
      if (leftMs <= 0) this.#options.overdue(batch)
      else if (batch.extending) this.#wakeAt(batch.endsAtMs)
      else if (leftMs <= this.#leaseMs * (extendAt + 0.05)) due.push(batch)
      else this.watch(batch)
    }
    if (due.length > 0) void this.#extend(due, nowMs)
  }

  async #extend(batches: readonly HeldBatch[], nowMs: number): Promise<void> {
    const extendMs = this.#leaseMs
    const settlements: Settlement[] = []
    const kept: HeldBatch[] = []
    for (const batch of batches) {
      const runs = batch.keptRuns()
      if (runs.length === 0) continue
      kept.push(batch)
      batch.extending = true
      for (const run of runs) {
        settlements.push({ ...leaseRange(batch, run), action: 'extend', extendMs })
      }
      this.#wakeAt(Math.max(batch.endsAtMs, nowMs))
    }
    if (settlements.length === 0) return
    try {
      await this.#options.send(settlements)
      for (const batch of kept) {
        batch.endsAtMs = Math.max(batch.endsAtMs, nowMs + extendMs)
        batch.extending = false
        this.watch(batch)
      }
    } catch {
      // The link is lost, and the leases with it; or the broker is too busy, and may not be in a while.
      for (const batch of kept) this.#extendLater(batch)
    }
  }

  #extendLater(batch: HeldBatch): void {
    const nowMs = this.#options.clock.monotonic()
    batch.extending = false
    if (nowMs >= batch.endsAtMs) this.#options.overdue(batch)
    else this.#wakeAt(Math.min(batch.endsAtMs, nowMs + Math.max(retryAfterMsMin, this.#leaseMs / 12)))
  }
}

/**
 * Keeps leases up while handlers run and messages wait, and tells the broker that this member lives. Both go by timers of
 * their own, whatever handlers do, unless the event loop itself stands still; that is noticed and logged.
 *
 * After it stood still, others may hold what counts as leased here: the member may have been evicted, and what is read only
 * now may have waited for longer than its lease lasts, which nothing about it tells. So the broker is asked (by extending all
 * that is held), and nothing is handed out before it has answered: what it said before its answer is read before it.
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
  /** What counts as leased here is leased: the broker has answered since the process stood still. */
  readonly sure: () => void
}

/** What the keeper goes by, as the broker says when it lets the member in. */
export interface LeaseTimes {
  /** How long the member may be silent. */
  readonly memberTimeoutMs: number
  readonly ackTimeoutMs: number
  /** When the broker was asked to let it in, by the monotonic clock. */
  readonly askedAtMs: number
}

/** How late a timer may be before it counts as proof that the event loop stood still. */
const lateMsMax = 1_000
/** What is left of a lease when it is extended, as a part of it. */
const extendAt = 1 / 3
/** How long after an extension that failed the next one is tried, at least. */
const retryAfterMsMin = 100
/** A call of more would hold up the broker's event loop, if they had to be refused one by one. */
const settlementsPerCall = 1_000
/** Signs of life are three within the shorter of member timeout and lease, but not for a lease that is shorter than this. */
const leaseMsMin = 300

export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions
  #beat: Disposable | undefined
  #beatMs = 0
  /** When the next sign of life is due, by the monotonic clock. */
  #beatAtMs = Number.POSITIVE_INFINITY
  #extension: Disposable | undefined
  /** When the extension timer falls due, by the monotonic clock. */
  #extensionAtMs = Number.POSITIVE_INFINITY
  /** How long leases last. A delivery that waited on its way has less left of it, but is extended to the whole. */
  #leaseMs = 1
  /** How often the process stood still. */
  #stalls = 0
  /** The stall that the broker was asked after, and the one that it answered after. */
  #askedAfter = 0
  #answeredAfter = 0

  constructor(options: LeaseKeeperOptions) {
    this.#options = options
  }

  /** Gives signs of life from now on. What is watched already, since it came while joining, stays so. */
  start({ memberTimeoutMs, ackTimeoutMs, askedAtMs }: LeaseTimes): void {
    this.#beat?.[Symbol.dispose]()
    this.#beatMs = Math.max(1, Math.floor(Math.min(memberTimeoutMs, Math.max(ackTimeoutMs, leaseMsMin)) / 3))
    this.#nextBeat()
    if (this.#options.clock.monotonic() - askedAtMs > this.#beatMs) this.#stalled()
  }

  stop(): void {
    this.#beat?.[Symbol.dispose]()
    this.#beat = undefined
    this.#beatAtMs = Number.POSITIVE_INFINITY
    this.#extension?.[Symbol.dispose]()
    this.#extension = undefined
    this.#extensionAtMs = Number.POSITIVE_INFINITY
    // The leases are over, and with them what was not known of them.
    this.#askedAfter = this.#stalls
    this.#answeredAfter = this.#stalls
  }

  /** Leases of a batch are to be kept up from now on. */
  watch(batch: HeldBatch): void {
    this.#watch(batch)
    if (this.#stalls !== this.#askedAfter) this.#look()
  }

  /** True while others may hold what counts as leased here. @param nowMs by the monotonic clock */
  isUnsure(nowMs: number): boolean {
    if (nowMs - this.#beatAtMs > this.#beatMs) this.#giveSign(nowMs)
    return this.#stalls !== this.#answeredAfter
  }

  #watch({ endsAtMs, leaseMs }: HeldBatch): void {
    this.#leaseMs = Math.max(this.#leaseMs, leaseMs)
    this.#wakeAt(endsAtMs - this.#leaseMs * extendAt)
  }

  #nextBeat(): void {
    const { clock } = this.#options
    this.#beatAtMs = clock.monotonic() + this.#beatMs
    this.#beat = clock.after(this.#beatMs, () => this.#giveSign(clock.monotonic()))
  }

  #giveSign(nowMs: number): void {
    const lateMs = nowMs - this.#beatAtMs
    this.#noteLateness(lateMs)
    this.#beat?.[Symbol.dispose]()
    this.#nextBeat()
    this.#options.heartbeat()
    if (lateMs > this.#beatMs) this.#stalled()
  }

  #stalled(): void {
    this.#stalls++
    this.#look()
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

  /** Extends what ends soon, or all of it when the broker has to be asked, in as few calls as may be. */
  #look(): void {
    const nowMs = this.#options.clock.monotonic()
    const asks = this.#stalls !== this.#askedAfter
    const due: HeldBatch[] = []
    for (const batch of this.#options.held) {
      const leftMs = batch.endsAtMs - nowMs
      if (leftMs <= 0) this.#options.overdue(batch)
      else if (asks) due.push(batch)
      else if (batch.extending) this.#wakeAt(batch.endsAtMs)
      else if (leftMs <= this.#leaseMs * (extendAt + 0.05)) due.push(batch)
      else this.#watch(batch)
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
    const stalls = this.#stalls
    this.#askedAfter = stalls
    try {
      const calls: Promise<unknown>[] = []
      for (let at = 0; at < settlements.length; at += settlementsPerCall) {
        const results = this.#options.send(settlements.slice(at, at + settlementsPerCall))
        // An answer that is there at once is known at once: nothing waits for it.
        if (!(results instanceof Promise)) continue
        results.catch(() => {}) // known below, unless a later call fails at once
        calls.push(results)
      }
      if (calls.length > 0) await Promise.all(calls)
      this.#answered(stalls)
      for (const batch of kept) {
        batch.endsAtMs = Math.max(batch.endsAtMs, nowMs + extendMs)
        batch.extending = false
        this.#watch(batch)
      }
    } catch {
      // The link is lost, and the leases with it; or the broker is too busy, and may not be in a while.
      if (this.#askedAfter === stalls) this.#askedAfter = this.#answeredAfter
      for (const batch of kept) this.#extendLater(batch)
    }
  }

  /** The broker has answered what was asked when the process had stood still so many times. */
  #answered(stalls: number): void {
    if (stalls <= this.#answeredAfter) return
    this.#answeredAfter = stalls
    if (stalls === this.#stalls) this.#options.sure()
  }

  #extendLater(batch: HeldBatch): void {
    const nowMs = this.#options.clock.monotonic()
    batch.extending = false
    if (nowMs >= batch.endsAtMs) this.#options.overdue(batch)
    else this.#wakeAt(Math.min(batch.endsAtMs, nowMs + Math.max(retryAfterMsMin, this.#leaseMs / 12)))
  }
}

/**
 * Settlements on their way to the broker. What is settled within a turn goes in one call, neighbours as one range; a few
 * calls may be under way at once, and while they are, what comes collects for the next.
 *
 * A call whose answer was lost with its connection is in doubt: it is asked again on the next one, by the leases alone, before
 * the group is joined again. To settle twice with one lease is no error, so the answer is then the true one.
 */
import {
  isRatatoskrError,
  type LeaseRange,
  type MaybePromise,
  RatatoskrError,
  type Settlement,
  type SettleResult,
  toRatatoskrError,
} from '../../ports/index.ts'
import type { HeldBatch, Places } from './held-batch.ts'

/** How places of one batch are settled. */
export interface SettlingOf extends Pick<Settlement, 'action' | 'delayMs' | 'reason'> {}

interface Run extends SettlingOf {
  readonly batch: HeldBatch
  from: number
  to: number
  /** It was part of a range that was refused, and is asked alone. */
  readonly alone?: boolean
}

export interface SettlerOptions {
  /** Sends settlements; a throw or rejection says that none of them was answered. */
  readonly send: (settlements: readonly Settlement[]) => MaybePromise<readonly SettleResult[]>
  /** Everything that was settled by now was sent. */
  readonly sent: () => void
  /** The broker has answered for messages that were given back: it has done so, or the leases had ended before. */
  readonly known: (range: LeaseRange) => void
  /** Runs something after a pause. */
  readonly later: (run: () => void) => Disposable
  /** A settlement was refused, and nobody else is told. */
  readonly refused: (error: RatatoskrError) => void
}

const callsMax = 4
const runsPerCall = 1_000
/** Microtasks without anything new after which a turn's settlements are sent. */
const quietTicks = 8
/** Messages that a turn's settlements are sent for at once: more would wait for the others longer than a call takes. */
const messagesPerCall = 64

export class Settler {
  readonly #options: SettlerOptions
  #runs: Run[] = []
  #inDoubt: Run[] = []
  #calls = 0
  #count = 0
  #countSeen = 0
  /** What the count was when there was nothing to send. */
  #countSent = 0
  #quiet = 0
  #scheduled = false
  #retry: Disposable | undefined
  /** There is no link: what is settled waits. */
  #suspended = false
  readonly #idle: PromiseWithResolvers<void>[] = []

  constructor(options: SettlerOptions) {
    this.#options = options
  }

  /** Settles places of a batch, which its states tell already. */
  add(batch: HeldBatch, from: number, to: number, how: SettlingOf): void {
    this.#count++
    const last = this.#runs.at(-1)
    const { action, delayMs, reason } = how
    const continues =
      last !== undefined &&
      last.alone !== true &&
      last.batch === batch &&
      last.to === from &&
      last.action === action &&
      last.delayMs === delayMs &&
      last.reason === reason
    if (continues) last.to = to
    else this.#runs.push({ batch, from, to, action, delayMs, reason })
    if (this.#count - this.#countSent >= messagesPerCall && this.#calls < callsMax) this.#send()
    else this.schedule()
  }

  /** Sends, and tells so, when the turn's work is done. */
  schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#quiet = 0
    queueMicrotask(this.#look)
  }

  /** Resolves when everything that was settled by now is answered. */
  async drained(): Promise<void> {
    this.#send()
    if (this.#isIdle) return
    const idle = Promise.withResolvers<void>()
    this.#idle.push(idle)
    await idle.promise
  }

  /** The link is gone: what is unanswered is in doubt. */
  suspend(): void {
    this.#suspended = true
    this.#doubt([...this.#inDoubt.splice(0), ...this.#runs.splice(0)])
  }

  /** Asks again what is in doubt. @throws what `ask` throws: everything is still in doubt then */
  async askAgain(
    ask: (settlements: readonly Settlement[]) => MaybePromise<readonly SettleResult[]>,
  ): Promise<void> {
    while (this.#inDoubt.length > 0) {
      const runs = this.#inDoubt.slice(0, runsPerCall)
      this.#answered(runs, await ask(runs.map(settlementOf)))
      this.#inDoubt.splice(0, runs.length)
    }
    this.#tellIdle()
  }

  resume(): void {
    this.#suspended = false
    this.schedule()
  }

  /** Nothing is sent any more: whoever waits for an answer learns that nobody knows. */
  end(): void {
    this.#suspended = true
    this.#retry?.[Symbol.dispose]()
    const error = new RatatoskrError(
      'RTK_DISCONNECTED',
      'the subscription ended before the settlement was answered; it may or may not count',
    )
    for (const { batch, from, to } of [...this.#inDoubt.splice(0), ...this.#runs.splice(0)]) {
      batch.answer({ from, to }, error)
    }
    this.#tellIdle()
  }

  readonly #look = (): void => {
    if (this.#count === this.#countSeen) this.#quiet++
    else this.#quiet = 0
    this.#countSeen = this.#count
    if (this.#quiet < quietTicks) queueMicrotask(this.#look)
    else {
      this.#scheduled = false
      this.#send()
    }
  }

  #send(): void {
    while (this.#runs.length > 0 && this.#calls < callsMax && !this.#suspended) {
      const runs = this.#runs.length === 1 ? this.#runs : merged(this.#runs)
      this.#runs = runs.splice(runsPerCall)
      this.#call(runs)
    }
    this.#countSent = this.#count
    if (this.#runs.length === 0) this.#options.sent()
    this.#tellIdle()
  }

  #call(runs: readonly Run[]): void {
    let results: MaybePromise<readonly SettleResult[]>
    try {
      results = this.#options.send(runs.map(settlementOf))
    } catch (error) {
      this.#unanswered(runs, error)
      return
    }
    if (!(results instanceof Promise)) {
      this.#answered(runs, results)
      return
    }
    this.#calls++
    results
      .then(
        (answers) => this.#answered(runs, answers),
        (error) => this.#unanswered(runs, error),
      )
      .finally(() => {
        this.#calls--
        this.#send()
      })
  }

  #answered(runs: readonly Run[], results: readonly SettleResult[]): void {
    for (const [i, run] of runs.entries()) {
      const error = results[i]
      const wasLost = isRatatoskrError(error, 'RTK_LEASE_LOST')
      if (error === undefined) run.batch.answer(run, undefined)
      else if (run.alone !== true && run.to - run.from > 1 && wasLost) this.#askEach(run)
      else this.#refused(run, error)
      if (run.action !== 'ack' && (error === undefined || wasLost)) {
        this.#options.known(leaseRange(run.batch, run))
      }
    }
  }

  /** Some of a range were lost: asked one by one, each has its own answer. */
  #askEach(run: Run): void {
    for (let place = run.from; place < run.to; place++) {
      this.#runs.push({ ...run, from: place, to: place + 1, alone: true })
    }
    this.schedule()
  }

  #unanswered(runs: readonly Run[], reason: unknown): void {
    const error = toRatatoskrError(reason)
    if (error.retryable || error.code === 'RTK_CLOSED') {
      this.#doubt(runs)
      this.#retry ??= this.#options.later(() => this.#askLater())
    } else for (const run of runs) this.#refused(run, error)
  }

  /** The broker could not answer, and the link is still there. */
  #askLater(): void {
    this.#retry = undefined
    if (this.#suspended || this.#inDoubt.length === 0) return
    this.#runs.unshift(...this.#inDoubt.splice(0))
    this.#send()
  }

  /** A settlement in doubt is asked again. What was only given back need not be once the link is gone: it comes again as it is. */
  #doubt(runs: readonly Run[]): void {
    for (const run of runs) {
      if (this.#suspended && run.action === 'release') run.batch.answer(run, undefined)
      else this.#inDoubt.push(run)
    }
  }

  #refused(run: Run, error: RatatoskrError): void {
    if (!run.batch.answer(run, error) && run.action !== 'release') this.#options.refused(error)
  }

  get #isIdle(): boolean {
    return this.#runs.length === 0 && this.#calls === 0 && this.#inDoubt.length === 0
  }

  #tellIdle(): void {
    if (!this.#isIdle) return
    for (const idle of this.#idle.splice(0)) idle.resolve()
  }
}

/** Acknowledgements first, neighbours as one range: handlers that run at once end in any order. */
function merged(runs: readonly Run[]): Run[] {
  const mayJoin = (run: Run): boolean => run.action === 'ack' && run.alone !== true
  const acks = runs.filter(mayJoin)
  acks.sort((a, b) => a.batch.number - b.batch.number || a.from - b.from)
  const ranges: Run[] = []
  for (const run of acks) {
    const last = ranges.at(-1)
    if (last !== undefined && last.batch === run.batch && last.to === run.from) last.to = run.to
    else ranges.push(run)
  }
  for (const run of runs) if (!mayJoin(run)) ranges.push(run)
  return ranges
}

/** The range of offsets that places stand for. */
export function leaseRange(batch: HeldBatch, { from, to }: Places): LeaseRange {
  const { partition, lease } = batch
  return { partition, lease, from: batch.offsetOf(from), to: batch.offsetOf(to - 1) + 1 }
}

const settlementOf = (run: Run): Settlement => ({
  ...leaseRange(run.batch, run),
  action: run.action,
  delayMs: run.delayMs,
  reason: run.reason,
})

const reasonLengthMax = 1_024

/** Why a message failed, as the dead letter tells it; the broker cuts it to its own measure. */
export function reasonText(reason: unknown): string | undefined {
  if (reason === undefined) return undefined
  const text = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason)
  return text.slice(0, reasonLengthMax)
}

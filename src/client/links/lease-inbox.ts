/**
 * Hands what comes from a broker to a `LeaseSink`, in the order in which it came and one call after the other. While the sink
 * is full, deliveries wait here: they are no more than the credit that its owner gave. What is lost of those before them is
 * told all the same.
 */
import type {
  Clock,
  LeasedBatch,
  LeaseLossReason,
  LeaseRange,
  LeaseSink,
  RatatoskrError,
} from '../../ports/index.ts'
import { toRatatoskrError } from '../../ports/index.ts'

/** A delivery, or something to say that a full sink is told, too. */
type Call =
  | { readonly batch: LeasedBatch; readonly cameMs: number }
  | { readonly batch: undefined; readonly tell: () => void }

export class LeaseInbox {
  readonly #sink: LeaseSink
  readonly #clock: Clock
  readonly #failed: (error: RatatoskrError) => void
  #calls: Call[] = []
  #full = false
  #inSink = false
  #ended = false

  /** @param failed called when the sink threw; `end` is then to be called with the error */
  constructor(sink: LeaseSink, clock: Clock, failed: (error: RatatoskrError) => void) {
    this.#sink = sink
    this.#clock = clock
    this.#failed = failed
  }

  deliver(batch: LeasedBatch): void {
    this.#push({ batch, cameMs: this.#clock.monotonic() })
  }

  /** Tells at once of what was handed over, and of what waits here once it was. */
  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void {
    const waits = ranges.filter((range) => this.#calls.some(({ batch }) => isOf(range, batch)))
    const known = waits.length === 0 ? ranges : ranges.filter((range) => !waits.includes(range))
    if (known.length > 0)
      this.#push({ batch: undefined, tell: () => this.#sink.lost(known, reason) }, 'first')
    if (waits.length > 0) this.#tell(() => this.#sink.lost(waits, reason))
  }

  assigned(partitions: readonly number[]): void {
    this.#tell(() => this.#sink.assigned?.(partitions))
  }

  /** Tells the end after what came before it. */
  ended(reason: RatatoskrError | undefined): void {
    this.#tell(() => this.#tellEnded(reason))
  }

  /** Tells the end and drops what waits, for nothing can be settled any more. Idempotent. */
  end(reason: RatatoskrError | undefined): void {
    if (this.#ended) return
    this.#calls = []
    this.ended(reason)
  }

  #tell(tell: () => void): void {
    this.#push({ batch: undefined, tell })
  }

  #push(call: Call, place: 'first' | 'last' = 'last'): void {
    if (this.#ended) return
    if (place === 'first') this.#calls.unshift(call)
    else this.#calls.push(call)
    this.#work()
  }

  #work(): void {
    if (this.#inSink) return
    for (let next = this.#calls[0]; next !== undefined; next = this.#calls[0]) {
      if (next.batch !== undefined && this.#full) return
      this.#calls.shift()
      this.#inSink = true
      try {
        if (next.batch === undefined) next.tell()
        else this.#deliver(next.batch, next.cameMs)
      } catch (error) {
        this.#fail(error)
      } finally {
        this.#inSink = false
      }
    }
  }

  #deliver(batch: LeasedBatch, cameMs: number): void {
    const waitedMs = this.#clock.monotonic() - cameMs
    const leaseMs = Math.max(0, batch.leaseMs - waitedMs)
    const full = this.#sink.deliver(waitedMs < 1 ? batch : { ...batch, leaseMs })
    if (!(full instanceof Promise)) return
    this.#full = true
    full.then(
      () => {
        this.#full = false
        this.#work()
      },
      (error: unknown) => this.#fail(error),
    )
  }

  #fail(error: unknown): void {
    if (this.#ended) return
    const known = toRatatoskrError(error)
    this.end(known)
    this.#failed(known)
  }

  #tellEnded(reason: RatatoskrError | undefined): void {
    this.#ended = true
    this.#calls = []
    try {
      this.#sink.ended(reason)
    } catch {
      // It is over: there is nobody left to tell.
    }
  }
}

const isOf = ({ partition, lease }: LeaseRange, batch: LeasedBatch | undefined): boolean =>
  batch?.partition === partition && batch.lease === lease

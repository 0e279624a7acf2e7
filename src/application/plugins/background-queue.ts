/**
 * The bounded queue that plugins put slow work into: `offer` is a push and never waits, `handle` runs later, one call
 * at a time. Whatever a handler does (throw, hang, offer to its own queue for ever), the queue holds at most `itemsMax`
 * waiting items plus the batch in hand, and the event loop goes on.
 */
import type { BackgroundQueue, BackgroundQueueOptions, Clock } from '../../ports/index.ts'
import { within } from '../deadline.ts'

/** Items given to one call of `handle` when the options do not say. */
const defaultBatchMax = 256

/**
 * Items handled before the queue lets a timer turn pass. A handler that settles without I/O, and is fed all the while,
 * would otherwise keep the microtask queue busy for ever.
 */
const itemsPerTurnMax = 1_024

/** What the queue's owner is told. */
export interface QueueEvents {
  dropped(items: number): void
  failed(error: unknown, items: number): void
}

interface Waiter {
  /** Place, counted from the first item ever taken, up to which everything must be done. */
  readonly until: number
  readonly promise: Promise<void>
  readonly resolve: () => void
}

export class BoundedQueue<Item> implements BackgroundQueue<Item> {
  readonly #options: BackgroundQueueOptions<Item>
  readonly #batchMax: number
  readonly #clock: Clock
  readonly #events: QueueEvents
  readonly #waiters: Waiter[] = []
  #items: Item[] = []
  #taken = 0
  #done = 0
  #dropped = 0
  #sinceTurn = 0
  #running = false
  #accepting = true

  /** @throws TypeError when a bound is not a whole number of at least 1, or `handle` is no function */
  constructor(options: BackgroundQueueOptions<Item>, clock: Clock, events: QueueEvents) {
    assertCount('itemsMax', options.itemsMax)
    if (options.batchMax !== undefined) assertCount('batchMax', options.batchMax)
    if (typeof options.handle !== 'function') throw new TypeError('handle must be a function')
    this.#options = options
    this.#batchMax = options.batchMax ?? defaultBatchMax
    this.#clock = clock
    this.#events = events
  }

  get size(): number {
    return this.#items.length
  }

  get dropped(): number {
    return this.#dropped
  }

  offer(item: Item): boolean {
    if (!this.#accepting || this.#items.length >= this.#options.itemsMax) {
      this.#drop(1)
      return false
    }
    this.#items.push(item)
    this.#taken++
    this.#run()
    return true
  }

  drained(): Promise<void> {
    if (this.#done >= this.#taken) return Promise.resolve()
    const last = this.#waiters.at(-1)
    if (last?.until === this.#taken) return last.promise
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiters.push({ until: this.#taken, promise, resolve })
    return promise
  }

  /**
   * Takes nothing more, handles what is there until the deadline, then drops the rest. A handler that hangs is left to
   * itself: its items count as neither done nor dropped.
   * @returns items that were cut
   */
  async close(deadlineMs: number): Promise<number> {
    this.#accepting = false
    await within(this.#clock, deadlineMs, this.drained()).catch(() => undefined)
    const left = this.#items.length
    this.#items = []
    if (left > 0) this.#drop(left)
    this.#done = this.#taken
    this.#wake()
    return left
  }

  #run(): void {
    if (this.#running) return
    this.#running = true
    queueMicrotask(() => void this.#handleAll())
  }

  async #handleAll(): Promise<void> {
    while (this.#items.length > 0) {
      if (this.#sinceTurn >= itemsPerTurnMax) await this.#turn()
      const batch = this.#next()
      if (batch.length === 0) break
      try {
        await this.#options.handle(batch)
      } catch (error) {
        this.#events.failed(error, batch.length)
      }
      this.#sinceTurn += batch.length
      this.#done += batch.length
      this.#wake()
    }
    this.#running = false
  }

  /** The whole list changes hands when it fits, so that the usual case moves no items. */
  #next(): readonly Item[] {
    if (this.#items.length > this.#batchMax) return this.#items.splice(0, this.#batchMax)
    const batch = this.#items
    this.#items = []
    return batch
  }

  /** A millisecond and not none: on a clock that is moved by hand, waiting for no time would never end. */
  #turn(): Promise<void> {
    this.#sinceTurn = 0
    return new Promise((resolve) => void this.#clock.after(1, resolve))
  }

  #drop(items: number): void {
    this.#dropped += items
    this.#events.dropped(items)
  }

  #wake(): void {
    while (this.#waiters.length > 0 && this.#waiters[0].until <= this.#done) this.#waiters.shift()?.resolve()
  }
}

function assertCount(name: string, value: unknown): void {
  if (Number.isSafeInteger(value) && (value as number) >= 1) return
  throw new TypeError(
    `${name} of a background queue must be a whole number of at least 1, got ${String(value)}`,
  )
}

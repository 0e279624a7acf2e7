/** Messages that are due and whose topic cannot take them now: they wait for its next try, and nobody else waits with them. */
import { backoffDelayMs } from '../../domain/backoff.ts'
import type { Platform } from '../../ports/index.ts'

interface Parked {
  readonly slots: Set<number>
  /** By the monotonic clock. */
  retryAtMs: number
  failures: number
}

const backoff = { baseMs: 100, maxMs: 30_000 }

export class ParkedTopics {
  readonly #platform: Platform
  readonly #topics = new Map<string, Parked>()

  constructor(platform: Platform) {
    this.#platform = platform
  }

  /** True while nothing may be delivered to the topic. */
  has(topicId: string): boolean {
    const parked = this.#topics.get(topicId)
    return parked !== undefined && parked.retryAtMs > this.#platform.clock.monotonic()
  }

  /** When the next topic is tried again, by the monotonic clock; infinity when none waits. */
  get nextRetryMs(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { slots, retryAtMs } of this.#topics.values()) {
      if (slots.size > 0) next = Math.min(next, retryAtMs)
    }
    return next
  }

  /** The topic could not take what was delivered to it. */
  failed(topicId: string, topic: string, error: unknown): void {
    const { clock, random, logger } = this.#platform
    const parked = this.#topics.get(topicId) ?? { slots: new Set<number>(), retryAtMs: 0, failures: 0 }
    if (this.has(topicId)) return
    parked.retryAtMs = clock.monotonic() + backoffDelayMs(parked.failures, backoff, random.next())
    if (parked.failures++ === 0) {
      logger.warn(
        'scheduled messages that are due cannot be stored in their topic; they are kept and tried again',
        {
          topic,
          error,
        },
      )
    }
    this.#topics.set(topicId, parked)
  }

  /** The topic took messages. It may have refused others at the same moment: those go on waiting. */
  succeeded(topicId: string): void {
    if (!this.has(topicId) && this.#topics.get(topicId)?.slots.size === 0) this.#topics.delete(topicId)
  }

  /** The topic is gone. */
  forget(topicId: string): void {
    this.#topics.delete(topicId)
  }

  /** A message waits for the next try of its topic, which must have failed. */
  add(topicId: string, slot: number): void {
    this.#topics.get(topicId)?.slots.add(slot)
  }

  /** Takes a message out again. @returns false when it is not here */
  take(topicId: string, slot: number): boolean {
    return this.#topics.get(topicId)?.slots.delete(slot) ?? false
  }

  /** The messages of topics whose time has come. */
  takeDue(): readonly number[] {
    const due: number[] = []
    const nowMs = this.#platform.clock.monotonic()
    for (const { slots, retryAtMs } of this.#topics.values()) {
      if (retryAtMs > nowMs || slots.size === 0) continue
      for (const slot of slots) due.push(slot)
      slots.clear()
    }
    return due
  }
}

/** Tells those who watch a subscription what happens; a callback that throws is logged and does no harm. */
import type { Logger, RatatoskrError } from '../ports/index.ts'
import type { ClientMessage } from './client-message.ts'
import type { SubscriptionEvents } from './consume-options.ts'

export class SubscriptionTeller {
  readonly #events: SubscriptionEvents
  readonly #logger: Logger
  #assigned = new Set<number>()

  constructor(events: SubscriptionEvents, logger: Logger) {
    this.#events = events
    this.#logger = logger
  }

  /** Calls what is to be told, with the events. */
  tell(run: (events: SubscriptionEvents) => void): void {
    try {
      run(this.#events)
    } catch (error) {
      this.#logger.error('a subscription event callback threw', { error: String(error) })
    }
  }

  /** These partitions are assigned now, and no others. */
  tellAssigned(partitions: readonly number[]): void {
    const before = this.#assigned
    this.#assigned = new Set(partitions)
    const gone = [...before].filter((partition) => !this.#assigned.has(partition))
    if (gone.length > 0) this.tell(({ onRevoked }) => onRevoked?.(gone))
    const added = partitions.filter((partition) => !before.has(partition))
    if (added.length === 0) return
    const assigned = added.map((partition) => ({ partition, offset: undefined }))
    this.tell(({ onAssigned }) => onAssigned?.(assigned))
  }

  /** Something went wrong that does not end the subscription. */
  report(error: RatatoskrError, message?: ClientMessage): void {
    this.#logger.warn('subscription error', { code: error.code, error: error.message })
    this.tell(({ onError }) => onError?.(error, message))
  }
}

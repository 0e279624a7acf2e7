/** Tells those who watch a subscription what happens; a callback that throws is logged and does no harm. */
import type { Logger, RatatoskrError } from '../ports/index.ts'
import type { ClientMessage } from './client-message.ts'
import type { SubscriptionEvents } from './consume-options.ts'

export class SubscriptionTeller {
  readonly #events: SubscriptionEvents
  readonly #logger: Logger

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

  /** Something went wrong that does not end the subscription. */
  report(error: RatatoskrError, message?: ClientMessage): void {
    this.#logger.warn('subscription error', { code: error.code, error: error.message })
    this.tell(({ onError }) => onError?.(error, message))
  }
}

/**
 * Credit of a subscription over HTTP, which goes by requests beside its stream: one after the other, since they take several
 * connections, where one overtakes another. What is granted meanwhile shares the next.
 */
import {
  isRatatoskrError,
  type QueueCredit,
  type RatatoskrError,
  toRatatoskrError,
} from '../../ports/index.ts'
import type { HttpCalls } from './http-calls.ts'

export class HttpCredit {
  readonly #http: HttpCalls
  readonly #path: string
  readonly #failed: (error: RatatoskrError) => void
  /** To ask for with the next request; undefined when there is nothing to ask for. */
  #owed: QueueCredit | undefined
  #asking = false
  #over = false

  /**
   * @param path of the subscription
   * @param failed called when credit did not come to the broker: without it nothing might ever come again
   */
  constructor(http: HttpCalls, path: string, failed: (error: RatatoskrError) => void) {
    this.#http = http
    this.#path = path
    this.#failed = failed
  }

  grant({ messages, bytes }: QueueCredit): void {
    if (this.#over) return
    const { messages: owedMessages, bytes: owedBytes } = this.#owed ?? {}
    this.#owed = { messages: sum(owedMessages, messages), bytes: sum(owedBytes, bytes) }
    if (!this.#asking) void this.#ask()
  }

  /** The subscription is over: nothing more is asked for. */
  end(): void {
    this.#over = true
  }

  async #ask(): Promise<void> {
    this.#asking = true
    try {
      for (let credit = this.#owed; credit !== undefined && !this.#over; credit = this.#owed) {
        this.#owed = undefined
        await this.#http.json('POST', `${this.#path}/credit`, credit)
      }
    } catch (error) {
      // One that is over has its end to come, which says why.
      const isOver = this.#over || isRatatoskrError(error, 'RTK_SUBSCRIPTION_NOT_FOUND')
      if (!isOver) this.#failed(toRatatoskrError(error))
    } finally {
      this.#asking = false
    }
  }
}

/** Of a kind of credit that is never granted there is no end: none and 0 are not the same. */
const sum = (one: number | undefined, other: number | undefined): number | undefined =>
  one === undefined ? other : one + (other ?? 0)

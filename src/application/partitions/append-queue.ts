/** What waits for a partition's store, and how much may: the bound behind RTK_OVERLOADED. */
import type { Limits } from '../../domain/limits.ts'
import type { PublishBudget } from '../admission/publish-budget.ts'

export class AppendQueue {
  readonly #limits: Limits
  readonly #budget: PublishBudget
  #appends = 0
  #messages = 0
  #bytes = 0

  /** @param budget what all partitions of the broker share */
  constructor(limits: Limits, budget: PublishBudget) {
    this.#limits = limits
    this.#budget = budget
  }

  /** True while the store has something to finish. */
  get busy(): boolean {
    return this.#appends > 0
  }

  entered(messages: number, bytes: number): void {
    this.#appends++
    this.#messages += messages
    this.#bytes += bytes
    this.#budget.entered(bytes)
  }

  left(messages: number, bytes: number): void {
    this.#appends--
    this.#messages -= messages
    this.#bytes -= bytes
    this.#budget.left(bytes)
  }

  /**
   * Why no more may enter; undefined when it may. What comes while nothing waits always may: otherwise a batch above
   * the bound could never be published.
   * @param gatheredMessages and `gatheredBytes`: what is not handed to the store yet, and waits too
   */
  refusal(
    messages: number,
    bytes: number,
    gatheredMessages: number,
    gatheredBytes: number,
  ): string | undefined {
    const { partitionQueueMessagesMax, partitionQueueBytesMax } = this.#limits
    const waitingMessages = this.#messages + gatheredMessages
    if (waitingMessages === 0) return this.#budget.refusal(bytes)
    if (waitingMessages + messages > partitionQueueMessagesMax) {
      return `${waitingMessages} messages wait (partitionQueueMessagesMax ${partitionQueueMessagesMax})`
    }
    const waitingBytes = this.#bytes + gatheredBytes
    if (waitingBytes + bytes > partitionQueueBytesMax) {
      return `${waitingBytes} bytes wait (partitionQueueBytesMax ${partitionQueueBytesMax})`
    }
    return this.#budget.refusal(bytes)
  }
}

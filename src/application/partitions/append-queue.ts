/** What waits for a partition's store, and how much may: the bound behind RTK_OVERLOADED. */
import type { Limits } from '../../domain/limits.ts'

export class AppendQueue {
  readonly #limits: Limits
  #appends = 0
  #messages = 0
  #bytes = 0

  constructor(limits: Limits) {
    this.#limits = limits
  }

  /** True while the store has something to finish. */
  get busy(): boolean {
    return this.#appends > 0
  }

  entered(messages: number, bytes: number): void {
    this.#appends++
    this.#messages += messages
    this.#bytes += bytes
  }

  left(messages: number, bytes: number): void {
    this.#appends--
    this.#messages -= messages
    this.#bytes -= bytes
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
    if (waitingMessages === 0) return undefined
    if (waitingMessages + messages > partitionQueueMessagesMax) {
      return `${waitingMessages} messages wait (partitionQueueMessagesMax ${partitionQueueMessagesMax})`
    }
    const waitingBytes = this.#bytes + gatheredBytes
    if (waitingBytes + bytes > partitionQueueBytesMax) {
      return `${waitingBytes} bytes wait (partitionQueueBytesMax ${partitionQueueBytesMax})`
    }
    return undefined
  }
}

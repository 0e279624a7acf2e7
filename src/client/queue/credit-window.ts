/** What a member of a queue group has granted to the broker, and what is used up of it and may be granted again. */
import type { QueueCredit } from '../../ports/index.ts'

export class CreditWindow {
  readonly #bytesMax: number
  #messagesMax: number
  /** Messages that were granted and are not to be granted again, because the window was made smaller. */
  #surplus = 0
  #returnedMessages = 0
  #returnedBytes = 0

  constructor(messagesMax: number, bytesMax: number) {
    this.#messagesMax = messagesMax
    this.#bytesMax = bytesMax
  }

  /** Messages are not leased any more, or their lease is lost. */
  returnMessages(count: number): void {
    this.#returnedMessages += count
  }

  /** A batch was used up. */
  returnBytes(count: number): void {
    this.#returnedBytes += count
  }

  /** @returns how many messages are granted or leased beyond the new size, and not returned */
  resize(messagesMax: number): number {
    const more = messagesMax - this.#messagesMax
    this.#messagesMax = messagesMax
    if (more <= 0) {
      this.#surplus -= more
      return Math.max(0, this.#surplus - this.#returnedMessages)
    }
    const forgiven = Math.min(this.#surplus, more)
    this.#surplus -= forgiven
    this.#returnedMessages += more - forgiven
    return 0
  }

  /** Begins anew, after joining. @param waitingMessages how many wait here already */
  firstGrant(waitingMessages: number): QueueCredit {
    this.#surplus = this.#returnedMessages = this.#returnedBytes = 0
    return { messages: Math.max(0, this.#messagesMax - waitingMessages), bytes: this.#bytesMax }
  }

  /** What to grant again: no crumbs, unless there is nothing else to do here. */
  nextGrant(idle: boolean): QueueCredit | undefined {
    const kept = Math.min(this.#surplus, this.#returnedMessages)
    this.#surplus -= kept
    this.#returnedMessages -= kept
    const messages = idle || this.#returnedMessages * 4 >= this.#messagesMax ? this.#returnedMessages : 0
    const bytes = idle || this.#returnedBytes * 4 >= this.#bytesMax ? this.#returnedBytes : 0
    if (messages === 0 && bytes === 0) return undefined
    this.#returnedMessages -= messages
    this.#returnedBytes -= bytes
    return { messages: messages === 0 ? undefined : messages, bytes: bytes === 0 ? undefined : bytes }
  }
}

/**
 * What a member was granted and has not used up. Messages and bytes are counted apart, and neither is exceeded, but for one
 * message that is larger than all of the byte credit: it comes when all that was granted at once is there again.
 * Of a kind that was never granted there is no end: whoever counts messages alone need not think about bytes.
 */
import type { Limits, QueueCredit } from '../../ports/index.ts'
import { grantOf } from '../delivery/outlet.ts'

export class MemberCredit {
  readonly #limits: Limits
  #messages: number | undefined
  #bytes: number | undefined
  #largestBytes = 0
  #needed = 0

  constructor(limits: Limits) {
    this.#limits = limits
  }

  get messages(): number {
    if (this.#messages !== undefined) return this.#messages
    return this.#bytes === undefined ? 0 : this.#limits.creditMessagesMax
  }

  get bytes(): number {
    if (this.#bytes !== undefined) return this.#bytes
    return this.#messages === undefined ? 0 : this.#limits.creditBytesMax
  }

  get mayOverdraw(): boolean {
    return this.bytes > 0 && (this.#bytes === undefined || this.#bytes >= this.#largestBytes)
  }

  /** True when there is enough for what is known to come next. */
  get suffices(): boolean {
    const { bytes } = this
    return this.messages > 0 && bytes > 0 && (bytes >= this.#needed || this.mayOverdraw)
  }

  /** @throws RTK_INVALID_ARGUMENT */
  grant(credit: QueueCredit): void {
    const { creditMessagesMax, creditBytesMax } = this.#limits
    const messages = grantOf('messages', credit.messages, creditMessagesMax)
    const bytes = grantOf('bytes', credit.bytes, creditBytesMax)
    if (credit.messages !== undefined)
      this.#messages = Math.min((this.#messages ?? 0) + messages, creditMessagesMax)
    if (credit.bytes === undefined) return
    this.#bytes = Math.min((this.#bytes ?? 0) + bytes, creditBytesMax)
    // What pays for a message that was larger than the credit is none of the window: counted, it would never be back.
    this.#largestBytes = Math.max(this.#largestBytes, Math.min(bytes, this.#bytes))
  }

  /** The next message takes as much: see `suffices`. */
  needs(bytes: number): void {
    this.#needed = bytes
  }

  spend(messages: number, bytes: number): void {
    this.#needed = 0
    if (this.#messages !== undefined) this.#messages -= messages
    if (this.#bytes !== undefined) this.#bytes -= bytes
  }

  /** Nothing may come any more. */
  clear(): void {
    this.#messages = this.#bytes = 0
  }
}

/**
 * Tells the broker that work on messages begins, and waits for its answer: from then on the loss of this member counts as a
 * failure of theirs. What begins within a turn goes in one call. Nobody works on what the broker says is lost.
 */
import {
  isRatatoskrError,
  type MaybePromise,
  type RatatoskrError,
  type Settlement,
  type SettleResult,
  toRatatoskrError,
} from '../../ports/index.ts'
import type { ClientMessage } from '../client-message.ts'
import type { HeldBatch } from './held-batch.ts'

export interface BeginningsOptions {
  /** A throw or rejection says that none of them was answered. */
  readonly send: (settlements: readonly Settlement[]) => MaybePromise<readonly SettleResult[]>
  /** Runs something after a pause. */
  readonly later: (run: () => void) => Disposable
  /** The broker says that the lease is lost. */
  readonly lost: (batch: HeldBatch, message: ClientMessage, reason: RatatoskrError) => void
  /** It was refused for a reason that may not pass by itself; it is asked again all the same. */
  readonly refused: (error: RatatoskrError, message: ClientMessage) => void
}

interface Beginning {
  readonly batch: HeldBatch
  readonly message: ClientMessage
  readonly answer: (may: boolean) => void
}

const beginningsPerCall = 1_000

export class Beginnings {
  readonly #options: BeginningsOptions
  #waiting: Beginning[] = []
  #queued = false
  #retry: Disposable | undefined
  #over = false

  constructor(options: BeginningsOptions) {
    this.#options = options
  }

  /** @returns whether work may begin */
  begin(batch: HeldBatch, message: ClientMessage): Promise<boolean> {
    return new Promise((answer) => {
      this.#waiting.push({ batch, message, answer })
      if (this.#over) this.end()
      else this.#soon()
    })
  }

  /** Nothing begins any more. */
  end(): void {
    this.#over = true
    this.#retry?.[Symbol.dispose]()
    this.#retry = undefined
    for (const { answer } of this.#waiting.splice(0)) answer(false)
  }

  #soon(): void {
    if (this.#queued || this.#retry !== undefined) return
    this.#queued = true
    queueMicrotask(() => {
      this.#queued = false
      const beginnings = this.#waiting.splice(0)
      for (let at = 0; at < beginnings.length; at += beginningsPerCall) {
        void this.#call(beginnings.slice(at, at + beginningsPerCall))
      }
    })
  }

  async #call(beginnings: readonly Beginning[]): Promise<void> {
    const held = beginnings.filter(({ batch, message, answer }) => {
      if (!batch.isLost(message)) return true
      answer(false)
      return false
    })
    if (held.length === 0) return
    try {
      const results = await this.#options.send(held.map(settlementOf))
      for (const [place, beginning] of held.entries()) this.#answered(beginning, results[place])
    } catch (error) {
      for (const beginning of held) this.#answered(beginning, toRatatoskrError(error))
    }
  }

  #answered(beginning: Beginning, error: SettleResult): void {
    const { batch, message, answer } = beginning
    if (isRatatoskrError(error, 'RTK_LEASE_LOST')) this.#options.lost(batch, message, error)
    if (error === undefined || batch.isLost(message) || this.#over) {
      answer(error === undefined && !this.#over)
      return
    }
    if (!error.retryable) this.#options.refused(error, message)
    this.#waiting.push(beginning)
    this.#retry ??= this.#options.later(() => {
      this.#retry = undefined
      this.#soon()
    })
  }
}

const settlementOf = ({ message: { partition, lease, offset } }: Beginning): Settlement => ({
  action: 'begin',
  partition,
  lease,
  from: offset,
  to: offset + 1,
})

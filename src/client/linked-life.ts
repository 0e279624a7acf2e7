/**
 * The life of a subscription that outlives its links: from the first time it joins until it is closed, the broker ends it for
 * good, or the connection ends. When a link is lost, or the broker ends it for a reason that may pass, it joins again.
 */
import { type MaybePromise, RatatoskrError, toRatatoskrError } from '../ports/index.ts'
import { Backoff } from './backoff.ts'
import { delay } from './call.ts'
import type { ClientContext } from './context.ts'
import type { Link } from './link.ts'

/** What lives. Its calls come one after the other, none after `over`. */
export interface Living {
  /** For the message of an error: what is being done when it joins again. */
  readonly joiningAgain: string
  /** Joins on a link, the first time or again. */
  join(link: Link): Promise<void>
  /** What still comes from where it is joined counts no more. */
  leave(): void
  /** Whether it may join again after such a refusal. */
  mayPass(refusal: RatatoskrError): boolean
  /** It has no link, and is about to join again. */
  disconnected(reason: RatatoskrError): void
  reconnected(): void
  /** @param reason undefined when it was closed */
  over(reason: RatatoskrError | undefined): void
}

export class LinkedLife {
  readonly #context: ClientContext
  readonly #living: Living
  readonly #closing = new AbortController()
  /** Counts joining: calls of an older sink are ignored. */
  #generation = 0
  #isOver = false

  constructor(context: ClientContext, living: Living) {
    this.#context = context
    this.#living = living
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Joins for the first time. @throws what joining throws, and it is over then */
  async begin(signal: AbortSignal): Promise<void> {
    const { connection } = this.#context
    const cancel = (): void => this.#closing.abort(signal.reason)
    signal.addEventListener('abort', cancel, { once: true })
    connection.signal.addEventListener('abort', this.#connectionEnded, { once: true })
    try {
      await connection.use((link) => this.#living.join(link), signal, true)
    } catch (error) {
      this.#isOver = true
      this.#detach()
      throw error
    } finally {
      signal.removeEventListener('abort', cancel)
    }
  }

  /** Is about to join: what was joined before counts no more. @returns the generation of what is joined now */
  joins(): number {
    return ++this.#generation
  }

  /** What is joined now counts no more. */
  leaves(): void {
    this.#generation++
  }

  isCurrent(generation: number): boolean {
    return generation === this.#generation && !this.#isOver
  }

  /** True when it is over, or whoever opened it has given up. */
  get isEnding(): boolean {
    return this.#closing.signal.aborted
  }

  /** The broker, or the loss of the link, has ended what was joined there. */
  linkEnded(link: Link | undefined, reason: RatatoskrError): void {
    const isLost = reason.code === 'RTK_DISCONNECTED'
    if (isLost && link !== undefined) this.#context.connection.lost(link, reason)
    this.#generation++
    this.#living.leave()
    if (this.#isOver) return
    if (reason.code !== 'RTK_CLOSED' && !this.#living.mayPass(reason)) {
      this.end(reason)
      return
    }
    this.#living.disconnected(reason)
    void this.joinAgain(!isLost)
  }

  /** Joins again until it works, or until the broker says that it never will. @param pauseFirst the link is still there */
  async joinAgain(pauseFirst: boolean): Promise<void> {
    try {
      if (await this.#hasJoinedAgain(pauseFirst)) this.#living.reconnected()
    } catch (error) {
      this.end(toRatatoskrError(error))
    }
  }

  /** Is over for this reason. Idempotent. */
  end(reason: RatatoskrError): void {
    if (this.#isOver) return
    this.#ends(reason)
    this.#living.over(reason)
  }

  /** Is over because nobody wants it any more. @param leaving tells the broker, and may fail. Idempotent */
  async close(leaving: () => MaybePromise<void> | undefined): Promise<void> {
    if (this.#isOver) return
    this.#ends(new RatatoskrError('RTK_CLOSED', 'the subscription is closed'))
    this.#living.over(undefined)
    await leaving()
  }

  /** @returns false when it was over first @throws a refusal that does not pass */
  async #hasJoinedAgain(pauseFirst: boolean): Promise<boolean> {
    const { platform, connection } = this.#context
    const { signal } = this.#closing
    const backoff = new Backoff({ baseMs: 100, maxMs: 5_000 }, platform.random)
    let refusal: RatatoskrError | undefined
    for (let pause = pauseFirst; !signal.aborted; pause = true) {
      try {
        if (pause) await delay(platform.clock, backoff.next(refusal), signal, this.#living.joiningAgain)
        await connection.use((link) => this.#living.join(link), signal)
        return !this.#isOver
      } catch (error) {
        refusal = toRatatoskrError(error)
        if (!signal.aborted && !this.#living.mayPass(refusal)) throw refusal
      }
    }
    return false
  }

  #ends(reason: RatatoskrError): void {
    this.#isOver = true
    this.#living.leave()
    this.#closing.abort(reason)
    this.#detach()
  }

  readonly #connectionEnded = (): void => {
    this.end(toRatatoskrError(this.#context.connection.signal.reason))
  }

  #detach(): void {
    this.#context.connection.signal.removeEventListener('abort', this.#connectionEnded)
  }
}

/** The producer id of one topic's sender: fetched when it is first needed, and another when the broker does not know it any more. */
import { type ErrorCode, type ProducerIdentity, RatatoskrError } from '../ports/index.ts'
import { withDeadline } from './call.ts'
import type { SenderContext } from './partition-sender.ts'

export class SenderIdentity {
  readonly #topic: string
  readonly #senders: SenderContext
  readonly #timeoutMs: number
  #current: ProducerIdentity | undefined
  #renewing: Promise<ProducerIdentity> | undefined

  constructor(topic: string, senders: SenderContext, timeoutMs: number) {
    this.#topic = topic
    this.#senders = senders
    this.#timeoutMs = timeoutMs
  }

  /** @throws TypeError before `first` has resolved */
  get current(): ProducerIdentity {
    if (this.#current === undefined) throw new TypeError('the producer has no id yet: await first()')
    return this.#current
  }

  /** Sees to it that there is an id. @throws what the broker answers */
  async first(signal: AbortSignal): Promise<void> {
    this.#current ??= await this.#ask(signal)
  }

  /** Another id than `stale`: partitions that give up the same one get the same new one. */
  async renewed(stale: ProducerIdentity, why: ErrorCode): Promise<ProducerIdentity> {
    if (this.#current !== stale) return this.current
    this.#renewing ??= this.#renew(why).finally(() => {
      this.#renewing = undefined
    })
    return this.#renewing
  }

  async #renew(why: ErrorCode): Promise<ProducerIdentity> {
    const { clock, logger } = this.#senders
    this.#current = await withDeadline(clock, 'taking a producer id', undefined, this.#timeoutMs, (signal) =>
      this.#ask(signal),
    )
    logger.info(
      'the producer goes on with a new id: the broker cannot tell the order of its batches any more',
      {
        topic: this.#topic,
        producerId: this.#current.producerId,
        code: why,
      },
    )
    return this.#current
  }

  /** An id whose answer is lost is never used: asking again does no harm. */
  async #ask(signal: AbortSignal): Promise<ProducerIdentity> {
    const identity = await this.#senders.connection.use((link) => link.initProducer(), signal, true)
    if (Number.isSafeInteger(identity.producerId) && Number.isSafeInteger(identity.epoch)) return identity
    throw new RatatoskrError('RTK_FRAME_MALFORMED', 'the broker gave a producer id that is no number')
  }
}

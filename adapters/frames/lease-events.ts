/** A member of a queue group: what it is leased as events in `+json` and as leased frames in `+binary`. */
import type {
  BatchSource,
  ConsumeOptions,
  LeasedBatch,
  LeasedSubscription,
  LeaseLossReason,
  LeaseRange,
  LeaseSink,
  MaybePromise,
} from 'ratatoskr/ports'
import { encodeLeasedHeader, leasedToJson } from 'ratatoskr/ports'
import {
  Expander,
  type SubscriptionForm,
  type SubscriptionsHost,
  type WireCredit,
  WireSink,
} from './wire-sink.ts'

export class LeaseEvents extends WireSink<LeasedSubscription> implements LeaseSink {
  readonly #form: SubscriptionForm
  readonly #expander: Expander
  /** What messages are made of: known when the reply goes out, and nothing is said before. */
  #source: Omit<BatchSource, 'partition'> | undefined

  constructor(id: number, host: SubscriptionsHost, form: SubscriptionForm) {
    super(id, host)
    this.#form = form
    this.#expander = new Expander(host, form)
  }

  /** Joins the group. @throws as the session does */
  async join(topic: string, options: ConsumeOptions): Promise<LeasedSubscription> {
    const { session, binary, platform, expandedBatchBytesMax } = this.host
    const subscription = await session.consume(topic, options, this)
    if (!binary) {
      try {
        const { id } = await session.describeTopic(subscription.topic)
        const expansion = { codecs: platform.compression, bytesMax: expandedBatchBytesMax }
        this.#source = { topic: subscription.topic, topicId: id, expansion }
      } catch (error) {
        await subscription.close()
        throw error
      }
    }
    this.began(subscription)
    return subscription
  }

  deliver(batch: LeasedBatch): MaybePromise<void> {
    return this.sayInTurn(() => {
      const { writer } = this.host
      const source = this.#source
      if (source === undefined) {
        return writer.deliverBinary(encodeLeasedHeader(this.id, batch), this.#expander.bytesOf(batch.bytes))
      }
      const messages = leasedToJson(batch, { ...source, partition: batch.partition }, this.#form.encoding)
      return writer.deliverText(JSON.stringify({ event: 'leased', subscription: this.id, messages }))
    })
  }

  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void {
    this.say({ event: 'lost', subscription: this.id, ranges, reason })
  }

  override grant({ bytes, messages }: WireCredit): void {
    super.grant({ messages, bytes: bytes === undefined ? undefined : this.#expander.granted(bytes) })
  }
}

/**
 * `Consume` of a queue group: one member a stream. Leased batches go out as the broker hands them over;
 * for clients that asked for messages they are decoded on the way.
 */
import type {
  BrokerFacade,
  LeasedBatch,
  LeasedSubscription,
  LeaseLossReason,
  LeaseRange,
  LeaseSink,
  MaybePromise,
  RatatoskrError,
  Session,
} from 'ratatoskr/ports'
import { toRatatoskrError } from 'ratatoskr/ports'
import type { OpenLeases, QueueServiceConsumeRequest, QueueServiceConsumeResponse } from 'ratatoskr/proto'
import * as proto from 'ratatoskr/proto'
import type { CallHost } from './calls.ts'
import { positionFromProto, textOf } from './convert.ts'
import { leasedMessages } from './leased-messages.ts'
import { wantsMessages } from './messages.ts'
import { queueConfigFromProto, queueConfigToProto } from './queue-config-convert.ts'
import {
  creditFromProto,
  lossReasonToProto,
  settlementsFromProto,
  settleResultsToProto,
} from './queue-convert.ts'
import { errorToProto } from './status.ts'
import {
  batchBytesWaitingMax,
  invalid,
  type SubscriptionCall,
  SubscriptionStream,
  started,
} from './subscription-stream.ts'

type ConsumeCall = SubscriptionCall<QueueServiceConsumeRequest>

/** Requests to settle of one stream that are not yet answered: reading pauses above. */
const settlingMax = 256

export const consumeLeases = (host: CallHost, broker: BrokerFacade) => (call: ConsumeCall) =>
  started(host, call, new LeaseStream(host, broker, call))

class LeaseStream
  extends SubscriptionStream<QueueServiceConsumeRequest, LeasedSubscription>
  implements LeaseSink
{
  readonly #broker: BrokerFacade
  /** Of a member in the format MESSAGES. */
  #topic: { readonly topic: string; readonly topicId: string } | undefined
  /** While a batch goes out as messages, in parts. */
  #parts: Promise<void> | undefined

  constructor(host: CallHost, broker: BrokerFacade, call: ConsumeCall) {
    super(host, call, settlingMax)
    this.#broker = broker
  }

  assigned(partitions: readonly number[]): void {
    this.afterOpening(() => this.#afterParts({ assigned: { partitions: [...partitions] } }))
  }

  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void {
    this.afterOpening(() =>
      this.#afterParts({
        lost: { ranges: ranges.map((range) => ({ ...range })), reason: lossReasonToProto(reason) },
      }),
    )
  }

  deliver(batch: LeasedBatch): MaybePromise<void> {
    if (this.isEarly) return this.opened.promise.then(() => this.deliver(batch))
    if (this.writer.over) return undefined
    const topic = this.#topic
    if (topic !== undefined) return this.#deliverMessages(topic, batch)
    const { bytes, leaseMs, ...rest } = batch
    const leased = { ...rest, leaseMs: Math.floor(leaseMs), batches: bytes }
    return this.writer.write(proto.frameLeased(leased), bytes.length)
  }

  ended(reason: RatatoskrError | undefined): void {
    this.afterOpening(() => this.end(reason))
  }

  async #deliverMessages(
    topic: { readonly topic: string; readonly topicId: string },
    batch: LeasedBatch,
  ): Promise<void> {
    const sent = Promise.withResolvers<void>()
    this.#parts = sent.promise
    try {
      for (const leased of leasedMessages(this.#broker, topic, batch)) await this.send(bytesOf({ leased }))
    } finally {
      this.#parts = undefined
      sent.resolve()
    }
  }

  /** Parts of a batch follow each other: what is said of it, such as its loss, comes behind them. */
  #afterParts(response: QueueServiceConsumeResponse): void {
    if (this.#parts === undefined) this.respond(bytesOf(response))
    else void this.#parts.then(() => this.respond(bytesOf(response)))
  }

  protected override async open(
    session: Session,
    request: QueueServiceConsumeRequest,
  ): Promise<LeasedSubscription> {
    const { topic, group, credit, autoAck, begins, format, ...open } = request.open as OpenLeases
    const asMessages = wantsMessages(format)
    if (!asMessages) this.writer.bytesMax = batchBytesWaitingMax
    const options = {
      group,
      member: textOf(open.member),
      from: positionFromProto(open.from),
      config: queueConfigFromProto(open.config),
      autoAck,
      begins,
      credit: credit === undefined ? undefined : creditFromProto(credit),
    }
    const subscription = await session.consume(topic, options, this)
    this.subscription = subscription
    if (asMessages) {
      const { id } = await session.describeTopic(subscription.topic)
      this.#topic = { topic: subscription.topic, topicId: id }
    }
    return subscription
  }

  protected override standing(subscription: LeasedSubscription): Uint8Array {
    const { id: subscriptionId, topic, group, member, memberTimeoutMs, beginsFrom } = subscription
    const config = queueConfigToProto(subscription.config)
    return bytesOf({ opened: { subscriptionId, topic, group, member, config, memberTimeoutMs, beginsFrom } })
  }

  protected override handle({ credit, settle, heartbeat }: QueueServiceConsumeRequest): void {
    if (credit !== undefined) this.subscription?.grant(creditFromProto(credit))
    else if (settle !== undefined) this.#settle(settle)
    else if (heartbeat !== undefined) this.subscription?.heartbeat()
    else throw invalid('requests after the first must be `credit`, `settle` or `heartbeat`')
  }

  #settle({ correlationId, settlements }: proto.StreamSettlements): void {
    this.answering.enter(0)
    const settled = (results: proto.SettleResult[], error?: unknown): void => {
      const failed = error === undefined ? undefined : errorToProto(toRatatoskrError(error))
      this.respond(bytesOf({ settled: { correlationId, error: failed, results } }))
      this.answering.leave(0)
    }
    const settle = async (): Promise<proto.SettleResult[]> =>
      settleResultsToProto((await this.subscription?.settle(settlementsFromProto(settlements))) ?? [])
    settle().then(settled, (error: unknown) => settled([], error))
  }
}

const bytesOf = (response: QueueServiceConsumeResponse): Uint8Array =>
  proto.QueueServiceConsumeResponse.encode(response).finish()

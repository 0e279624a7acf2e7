/**
 * `Consume`: one subscription a stream. Batches go out as the broker hands them over; messages, for
 * clients that asked for those, are packed on the way.
 */
import type {
  BatchDelivery,
  BatchSink,
  DroppedMessages,
  MaybePromise,
  MessageSink,
  PartitionOffset,
  RatatoskrError,
  Session,
  Subscription,
} from 'ratatoskr/ports'
import { giveBackBytes, toRatatoskrError } from 'ratatoskr/ports'
import type { ConsumeRequest, ConsumeResponse, Credit, OpenSubscription } from 'ratatoskr/proto'
import * as proto from 'ratatoskr/proto'
import type { CallHost } from './calls.ts'
import { listOf, offsetsToProto, overflowFromProto, positionFromProto, textOf } from './convert.ts'
import { MessagePacker, wantsMessages } from './messages.ts'
import { errorToProto } from './status.ts'
import {
  batchBytesWaitingMax,
  invalid,
  type SubscriptionCall,
  SubscriptionStream,
  started,
  unheard,
} from './subscription-stream.ts'

type ConsumeCall = SubscriptionCall<ConsumeRequest>

/** Commits of one stream that are not yet stored: reading pauses above. */
const commitsInFlightMax = 256

export const consume = (host: CallHost) => (call: ConsumeCall) =>
  started(host, call, new ConsumeStream(host, call, commitsInFlightMax))

class ConsumeStream extends SubscriptionStream<ConsumeRequest, Subscription> implements BatchSink {
  readonly givesBack = true
  /** Of a subscription in the format MESSAGES. */
  #packer: MessagePacker | undefined

  assigned(partitions: readonly PartitionOffset[]): void {
    this.afterOpening(() => {
      this.#flush()
      this.respond(bytesOf({ assigned: { partitions: offsetsToProto(partitions) } }))
    })
  }

  dropped({ partition, fromOffset, toOffset }: DroppedMessages): void {
    this.afterOpening(() => {
      this.#flush()
      this.respond(bytesOf({ dropped: { partition, fromOffset, toOffset } }))
    })
  }

  deliver(delivery: BatchDelivery): MaybePromise<void> {
    if (this.isEarly) return this.opened.promise.then(() => this.deliver(delivery))
    const { partition, fromOffset, nextOffset, bytes } = delivery
    return this.writer.write(
      proto.frameDelivery({ partition, fromOffset, nextOffset, batches: bytes }),
      bytes.length,
      () => giveBackBytes(bytes),
    )
  }

  ended(reason: RatatoskrError | undefined): void {
    this.afterOpening(() => {
      this.#flush()
      this.end(reason)
    })
  }

  protected override open(session: Session, { open }: ConsumeRequest): Promise<Subscription> {
    const { topic, group, member, from, partitions, credit, overflow, format } = open as OpenSubscription
    const sink = wantsMessages(format) ? this.#messageSink() : undefined
    if (sink === undefined) this.writer.bytesMax = batchBytesWaitingMax
    const options = {
      group: textOf(group),
      member: textOf(member),
      from: positionFromProto(from),
      partitions: listOf(partitions),
      credit: credit === undefined ? undefined : this.#creditOf(credit),
      overflow: overflowFromProto(overflow),
    }
    return sink === undefined
      ? session.subscribe(topic, options, this)
      : session.subscribeMessages(topic, options, sink)
  }

  protected override standing({ id, topic, group = '', member }: Subscription): Uint8Array {
    return bytesOf({ opened: { subscriptionId: id, topic, group, member } })
  }

  protected override handle({ credit, commit }: ConsumeRequest): void {
    if (credit !== undefined) this.subscription?.grant(this.#creditOf(credit))
    else if (commit !== undefined) this.#commit(commit)
    else throw invalid('requests after the first must be `credit` or `commit`')
  }

  #messageSink(): MessageSink {
    const packer = new MessagePacker((messages) => this.send(bytesOf({ messages: { messages } })))
    this.#packer = packer
    const deliver: MessageSink['deliver'] = (message) =>
      this.isEarly ? this.opened.promise.then(() => deliver(message)) : packer.add(message)
    return {
      deliver,
      assigned: (partitions) => this.assigned(partitions),
      dropped: (messages) => this.dropped(messages),
      ended: (reason) => this.ended(reason),
    }
  }

  #commit({ correlationId, offsets }: proto.CommitOffsets): void {
    this.answering.enter(0)
    const answer = (error?: unknown): void => {
      const failed = error === undefined ? undefined : errorToProto(toRatatoskrError(error))
      this.respond(bytesOf({ committed: { correlationId, error: failed } }))
      this.answering.leave(0)
    }
    this.subscription?.commit(offsets).then(() => answer(), answer)
  }

  /** Messages that are packed come before what is said next. */
  #flush(): void {
    unheard(this.#packer?.flush())
  }

  /** @throws RTK_INVALID_ARGUMENT */
  #creditOf({ bytes, messages }: Credit): { bytes: number } | { messages: number } {
    const [unit, amount, other] =
      this.#packer === undefined
        ? (['bytes', bytes, messages] as const)
        : (['messages', messages, bytes] as const)
    if (other !== 0)
      throw invalid(`credit of this subscription is to be given in ${unit} only: see its format`)
    if (amount < 0) throw invalid(`credit must not be negative, got ${amount} ${unit}`)
    return unit === 'bytes' ? { bytes: amount } : { messages: amount }
  }
}

const bytesOf = (response: ConsumeResponse): Uint8Array => proto.ConsumeResponse.encode(response).finish()

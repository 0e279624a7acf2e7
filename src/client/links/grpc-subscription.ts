/** A subscription over one `Consume` stream. */
import * as proto from '../../../proto/index.ts'
import {
  type BatchSink,
  type CommittedOffset,
  type Credit,
  isRatatoskrError,
  type MaybePromise,
  RatatoskrError,
  type SubscribeOptions,
  type Subscription,
  toRatatoskrError,
} from '../../ports/index.ts'
import type { GrpcCall } from './grpc-call.ts'
import type { GrpcChannel } from './grpc-channel.ts'
import { committedToProto, droppedFromProto, offsetsFromProto, openToProto } from './grpc-convert.ts'
import { errorFromProto } from './grpc-errors.ts'
import { requestBytes } from './grpc-requests.ts'

const consumeMethod = {
  ...proto.MessageServiceService.consume,
  responseDeserialize: proto.decodeConsumeResponse,
}

export class GrpcSubscription implements Subscription {
  readonly #sink: BatchSink
  readonly #stream: GrpcCall
  readonly #opened = Promise.withResolvers<this>()
  readonly #gone = Promise.withResolvers<void>()
  readonly #commits = new Map<number, PromiseWithResolvers<void>>()
  /** What came while the sink was full: bounded by the credit that the holder gave. */
  readonly #queue: proto.ConsumeResponse[] = []
  #names: proto.SubscriptionOpened | undefined
  #lastCommit = 0
  #busy = false
  #inSink = false
  #closing = false
  #over = false
  #end: { readonly reason: RatatoskrError | undefined } | undefined

  private constructor(channel: GrpcChannel, sink: BatchSink) {
    this.#sink = sink
    this.#stream = channel.stream(consumeMethod, {
      response: (response) => this.#arrived(response),
      ended: (reason) => this.#streamEnded(reason),
    })
  }

  /** @throws as `Session.subscribe` does */
  static open(
    channel: GrpcChannel,
    topic: string,
    options: SubscribeOptions,
    sink: BatchSink,
  ): Promise<Subscription> {
    const open = frameOf({ open: openToProto(topic, options) }) // what it refuses must not leave a stream behind
    const subscription = new GrpcSubscription(channel, sink)
    subscription.#stream.write(open)
    return subscription.#opened.promise
  }

  get id(): string {
    return this.#names?.subscriptionId ?? ''
  }

  get topic(): string {
    return this.#names?.topic ?? ''
  }

  get group(): string | undefined {
    return this.#names?.group || undefined
  }

  get member(): string {
    return this.#names?.member ?? ''
  }

  grant(credit: Credit): void {
    if (this.#closing || credit.bytes === undefined) return
    this.#stream.write(frameOf({ credit: { bytes: credit.bytes, messages: 0 } }))
  }

  async commit(offsets: readonly CommittedOffset[]): Promise<void> {
    if (this.#closing) throw closedError()
    const correlationId = ++this.#lastCommit
    const request = frameOf({ commit: { correlationId, offsets: committedToProto(offsets) } })
    const commit = Promise.withResolvers<void>()
    this.#commits.set(correlationId, commit)
    this.#stream.write(request)
    return commit.promise
  }

  /** Resolves when the broker has closed the subscription too, so that a group is left by then. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true
      this.#queue.length = 0
      this.#stream.end()
      this.#finish(undefined)
    }
    return this.#gone.promise
  }

  #arrived(response: proto.ConsumeResponse): void {
    const { opened, committed } = response
    if (committed !== undefined) this.#committed(committed)
    else if (opened !== undefined) {
      this.#names = opened
      this.#opened.resolve(this)
    } else if (!this.#closing) {
      this.#queue.push(response)
      this.#work()
    }
  }

  #committed({ correlationId, error }: proto.CommitResult): void {
    const commit = this.#commits.get(correlationId)
    this.#commits.delete(correlationId)
    if (error === undefined) commit?.resolve()
    else commit?.reject(errorFromProto(error))
  }

  /** Hands over what has come, one after the other, until the sink is full. */
  #work(): void {
    if (this.#busy || this.#inSink) return
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const full = this.#handOver(next)
      if (full === undefined) continue
      this.#busy = true
      full.then(
        () => {
          this.#busy = false
          this.#work()
        },
        (error: unknown) => this.#sinkFailed(error),
      )
      return
    }
    if (this.#end !== undefined) this.#finish(this.#end.reason)
  }

  #handOver({ assigned, dropped, delivery }: proto.ConsumeResponse): MaybePromise<void> {
    this.#inSink = true
    try {
      if (assigned !== undefined) this.#sink.assigned?.(offsetsFromProto(assigned.partitions))
      if (dropped !== undefined) this.#sink.dropped?.(droppedFromProto(dropped))
      if (delivery === undefined) return undefined
      const { partition, fromOffset, nextOffset, batches } = delivery
      return this.#sink.deliver({ partition, fromOffset, nextOffset, bytes: batches })
    } catch (error) {
      this.#sinkFailed(error)
      return undefined
    } finally {
      this.#inSink = false
      if (this.#over) this.#tellEnded()
    }
  }

  #sinkFailed(error: unknown): void {
    this.#closing = true
    this.#queue.length = 0
    this.#stream.end()
    this.#finish(toRatatoskrError(error))
  }

  #streamEnded(reason: RatatoskrError | undefined): void {
    const lost = reason ?? closedError()
    this.#opened.reject(lost)
    for (const commit of this.#commits.values()) commit.reject(lost)
    this.#commits.clear()
    this.#gone.resolve()
    this.#closing = true
    // A subscription that never stood is told of by the rejection of `open`.
    if (this.#names === undefined) this.#over = true
    if (this.#over) return
    if (isRatatoskrError(reason, 'RTK_CLOSED')) {
      // The holder closed the link: nothing is handed over after that.
      this.#queue.length = 0
      this.#finish(reason)
      return
    }
    this.#end = { reason: reason ?? new RatatoskrError('RTK_DISCONNECTED', 'the broker ended the stream') }
    this.#work()
  }

  #finish(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#end = { reason }
    if (!this.#inSink) this.#tellEnded()
  }

  #tellEnded(): void {
    const end = this.#end
    this.#end = undefined
    if (end !== undefined) this.#sink.ended(end.reason)
  }
}

const frameOf = (request: proto.ConsumeRequest): proto.MessageFrame =>
  proto.frameOf(requestBytes(consumeMethod, request))

const closedError = (): RatatoskrError => new RatatoskrError('RTK_CLOSED', 'the subscription is closed')

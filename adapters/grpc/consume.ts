/**
 * `Consume`: one subscription a stream. Batches go out as the broker hands them over, one write at a time; messages, for
 * clients that asked for those, are packed on the way.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js'
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
import { RatatoskrError as BrokerError, toRatatoskrError } from 'ratatoskr/ports'
import type { ConsumeRequest, ConsumeResponse, Credit, OpenSubscription } from 'ratatoskr/proto'
import * as proto from 'ratatoskr/proto'
import {
  bufferOf,
  type CallHost,
  failure,
  InFlight,
  type OpenStream,
  StreamWriter,
  stopping,
} from './calls.ts'
import { listOf, offsetsToProto, overflowFromProto, positionFromProto, textOf } from './convert.ts'
import { MessagePacker, wantsMessages } from './messages.ts'
import { errorToProto, type Incoming, readable } from './status.ts'

type ConsumeCall = ServerDuplexStream<Incoming<ConsumeRequest>, Buffer>

/** Commits of one stream that are not yet stored: reading pauses above. */
const commitsInFlightMax = 256

export const consume = (host: CallHost) => (call: ConsumeCall) => {
  const stream = new ConsumeStream(host, call)
  host.connections.session(call).then(
    (session) => stream.run(session),
    (error: unknown) => stream.end(error),
  )
}

class ConsumeStream implements OpenStream, BatchSink {
  readonly #host: CallHost
  readonly #call: ConsumeCall
  readonly #writer: StreamWriter<Buffer>
  readonly #commits: InFlight
  readonly #opened = Promise.withResolvers<void>()
  #opening = false
  /** Of a subscription in the format MESSAGES. */
  #packer: MessagePacker | undefined
  #subscription: Subscription | undefined
  /** What came from the broker before the client knew that the subscription stands. */
  #early: (() => void)[] | undefined = []

  constructor(host: CallHost, call: ConsumeCall) {
    this.#host = host
    this.#call = call
    this.#writer = new StreamWriter(call, 0)
    this.#commits = new InFlight(call, commitsInFlightMax, Number.POSITIVE_INFINITY)
    host.streams.add(this)
    call.once('cancelled', () => {
      host.streams.delete(this)
      this.#close()
    })
  }

  run(session: Session): void {
    const call = this.#call
    call.on('data', (request: Incoming<ConsumeRequest>) => {
      if (this.#writer.over) return
      try {
        this.#handle(session, readable(request))
      } catch (error) {
        this.end(error)
      }
    })
    call.once('end', () => {
      if (!this.#opening) this.end(invalid('the stream ended before its first request, which must be `open`'))
      else this.#commits.whenIdle(() => this.#close())
    })
  }

  drain(): void {
    this.end(stopping())
  }

  /** Ends the stream, and with it the subscription. */
  end(thrown?: unknown): void {
    this.#host.streams.delete(this)
    this.#writer.end(thrown === undefined ? undefined : failure(this.#host, thrown))
    this.#opened.resolve()
    this.#close()
  }

  assigned(partitions: readonly PartitionOffset[]): void {
    this.#afterOpening(() => {
      this.#flush()
      this.#respond({ assigned: { partitions: offsetsToProto(partitions) } })
    })
  }

  dropped({ partition, fromOffset, toOffset }: DroppedMessages): void {
    this.#afterOpening(() => {
      this.#flush()
      this.#respond({ dropped: { partition, fromOffset, toOffset } })
    })
  }

  deliver(delivery: BatchDelivery): MaybePromise<void> {
    if (this.#early !== undefined) return this.#opened.promise.then(() => this.deliver(delivery))
    const { partition, fromOffset, nextOffset, bytes } = delivery
    const response = proto.encodeDelivery({ partition, fromOffset, nextOffset, batches: bytes })
    return this.#writer.write(response, response.length)
  }

  ended(reason: RatatoskrError | undefined): void {
    this.#afterOpening(() => {
      this.#flush()
      this.end(reason)
    })
  }

  #handle(session: Session, request: ConsumeRequest): void {
    const { open, credit, commit } = request
    if (!this.#opening) {
      if (open === undefined) throw invalid('the first request of the stream must be `open`')
      this.#opening = true
      this.#open(session, open)
    } else if (credit !== undefined) this.#subscription?.grant(this.#creditOf(credit))
    else if (commit !== undefined) this.#commit(commit)
    else throw invalid('requests after the first must be `credit` or `commit`')
  }

  #open(session: Session, open: OpenSubscription): void {
    const { topic, group, member, from, partitions, credit, overflow } = open
    const sink = wantsMessages(open.format) ? this.#messageSink() : undefined
    const options = {
      group: textOf(group),
      member: textOf(member),
      from: positionFromProto(from),
      partitions: listOf(partitions),
      credit: credit === undefined ? undefined : this.#creditOf(credit),
      overflow: overflowFromProto(overflow),
    }
    // Requests that come meanwhile wait in the stream.
    this.#call.pause()
    const opening =
      sink === undefined
        ? session.subscribe(topic, options, this)
        : session.subscribeMessages(topic, options, sink)
    opening.then(
      (subscription) => this.#stand(subscription),
      (error: unknown) => this.end(error),
    )
  }

  #messageSink(): MessageSink {
    const packer = new MessagePacker((messages) => this.#send({ messages: { messages } }))
    this.#packer = packer
    const deliver: MessageSink['deliver'] = (message) =>
      this.#early === undefined ? packer.add(message) : this.#opened.promise.then(() => deliver(message))
    return {
      deliver,
      assigned: (partitions) => this.assigned(partitions),
      dropped: (messages) => this.dropped(messages),
      ended: (reason) => this.ended(reason),
    }
  }

  #stand(subscription: Subscription): void {
    this.#subscription = subscription
    if (this.#writer.over) {
      this.#close()
      return
    }
    const { id, topic, group = '', member } = subscription
    this.#respond({ opened: { subscriptionId: id, topic, group, member } })
    const early = this.#early ?? []
    this.#early = undefined
    for (const run of early) run()
    this.#opened.resolve()
    this.#call.resume()
  }

  #afterOpening(run: () => void): void {
    if (this.#early === undefined) run()
    else this.#early.push(run)
  }

  #commit({ correlationId, offsets }: proto.CommitOffsets): void {
    this.#commits.enter(0)
    const answer = (error?: unknown): void => {
      const failed = error === undefined ? undefined : errorToProto(toRatatoskrError(error))
      this.#respond({ committed: { correlationId, error: failed } })
      this.#commits.leave(0)
    }
    this.#subscription?.commit(offsets).then(() => answer(), answer)
  }

  /** Messages that are packed come before what is said next. */
  #flush(): void {
    unheard(this.#packer?.flush())
  }

  /** Small responses are not waited for: there is one for each thing the client or the group did. */
  #respond(response: ConsumeResponse): void {
    unheard(this.#send(response))
  }

  #send(response: ConsumeResponse): MaybePromise<void> {
    if (this.#writer.over) return undefined
    const bytes = bufferOf(proto.ConsumeResponse.encode(response).finish())
    return this.#writer.write(bytes, bytes.length)
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

  #close(): void {
    this.#subscription?.close().catch((error: unknown) => {
      this.#host.logger.warn('subscription did not close', { error })
    })
  }
}

/** For a write whose failure the stream's end tells. */
const unheard = (writing: MaybePromise<void>): void => {
  if (writing !== undefined) writing.catch(() => undefined)
}

const invalid = (message: string): BrokerError => new BrokerError('RTK_INVALID_ARGUMENT', message)

/**
 * `Consume` of a queue group: one member a stream. Leased batches go out as the broker hands them over, one write at a time;
 * for clients that asked for messages they are decoded on the way.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js'
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
import { RatatoskrError as BrokerError, toRatatoskrError } from 'ratatoskr/ports'
import type { OpenLeases, QueueServiceConsumeRequest, QueueServiceConsumeResponse } from 'ratatoskr/proto'
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
import { errorToProto, type Incoming, readable } from './status.ts'

type ConsumeCall = ServerDuplexStream<Incoming<QueueServiceConsumeRequest>, Buffer>

/** Requests to settle of one stream that are not yet answered: reading pauses above. */
const settlingMax = 256

export const consumeLeases = (host: CallHost, broker: BrokerFacade) => (call: ConsumeCall) => {
  const stream = new LeaseStream(host, broker, call)
  host.connections.session(call).then(
    (session) => stream.run(session),
    (error: unknown) => stream.end(error),
  )
}

class LeaseStream implements OpenStream, LeaseSink {
  readonly #host: CallHost
  readonly #broker: BrokerFacade
  readonly #call: ConsumeCall
  readonly #writer: StreamWriter<Buffer>
  readonly #settling: InFlight
  readonly #opened = Promise.withResolvers<void>()
  #opening = false
  /** Of a member in the format MESSAGES. */
  #topic: { readonly topic: string; readonly topicId: string } | undefined
  #subscription: LeasedSubscription | undefined
  /** While a batch goes out as messages, in parts. */
  #parts: Promise<void> | undefined
  /** What came from the broker before the client knew that the subscription stands. */
  #early: (() => void)[] | undefined = []

  constructor(host: CallHost, broker: BrokerFacade, call: ConsumeCall) {
    this.#host = host
    this.#broker = broker
    this.#call = call
    this.#writer = new StreamWriter(call, 0)
    this.#settling = new InFlight(call, settlingMax, Number.POSITIVE_INFINITY)
    host.streams.add(this)
    call.once('cancelled', () => {
      host.streams.delete(this)
      this.#close()
    })
  }

  run(session: Session): void {
    const call = this.#call
    call.on('data', (request: Incoming<QueueServiceConsumeRequest>) => {
      if (this.#writer.over) return
      try {
        this.#handle(session, readable(request))
      } catch (error) {
        this.end(error)
      }
    })
    call.once('end', () => {
      if (!this.#opening) this.end(invalid('the stream ended before its first request, which must be `open`'))
      else this.#settling.whenIdle(() => this.#close())
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

  assigned(partitions: readonly number[]): void {
    this.#afterOpening(() => this.#afterParts({ assigned: { partitions: [...partitions] } }))
  }

  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void {
    this.#afterOpening(() =>
      this.#afterParts({
        lost: { ranges: ranges.map((range) => ({ ...range })), reason: lossReasonToProto(reason) },
      }),
    )
  }

  deliver(batch: LeasedBatch): MaybePromise<void> {
    if (this.#early !== undefined) return this.#opened.promise.then(() => this.deliver(batch))
    if (this.#writer.over) return undefined
    const topic = this.#topic
    if (topic !== undefined) return this.#deliverMessages(topic, batch)
    const { bytes, leaseMs, ...rest } = batch
    const response = proto.encodeLeased({ ...rest, leaseMs: Math.floor(leaseMs), batches: bytes })
    return this.#writer.write(response, response.length)
  }

  ended(reason: RatatoskrError | undefined): void {
    this.#afterOpening(() => this.end(reason))
  }

  async #deliverMessages(
    topic: { readonly topic: string; readonly topicId: string },
    batch: LeasedBatch,
  ): Promise<void> {
    const sent = Promise.withResolvers<void>()
    this.#parts = sent.promise
    try {
      for (const leased of leasedMessages(this.#broker, topic, batch)) await this.#send({ leased })
    } finally {
      this.#parts = undefined
      sent.resolve()
    }
  }

  /** Parts of a batch follow each other: what is said of it, such as its loss, comes behind them. */
  #afterParts(response: QueueServiceConsumeResponse): void {
    if (this.#parts === undefined) this.#respond(response)
    else void this.#parts.then(() => this.#respond(response))
  }

  #handle(session: Session, request: QueueServiceConsumeRequest): void {
    const { open, credit, settle, heartbeat } = request
    if (!this.#opening) {
      if (open === undefined) throw invalid('the first request of the stream must be `open`')
      this.#opening = true
      this.#open(session, open)
    } else if (credit !== undefined) this.#subscription?.grant(creditFromProto(credit))
    else if (settle !== undefined) this.#settle(settle)
    else if (heartbeat !== undefined) this.#subscription?.heartbeat()
    else throw invalid('requests after the first must be `credit`, `settle` or `heartbeat`')
  }

  #open(session: Session, { topic, group, credit, autoAck, format, ...open }: OpenLeases): void {
    const asMessages = wantsMessages(format)
    const options = {
      group,
      member: textOf(open.member),
      from: positionFromProto(open.from),
      config: queueConfigFromProto(open.config),
      autoAck,
      credit: credit === undefined ? undefined : creditFromProto(credit),
    }
    // Requests that come meanwhile wait in the stream.
    this.#call.pause()
    const opening = async (): Promise<void> => {
      const subscription = await session.consume(topic, options, this)
      this.#subscription = subscription
      if (asMessages) {
        const { id } = await session.describeTopic(subscription.topic)
        this.#topic = { topic: subscription.topic, topicId: id }
      }
      this.#stand(subscription)
    }
    opening().catch((error: unknown) => this.end(error))
  }

  #stand(subscription: LeasedSubscription): void {
    if (this.#writer.over) {
      this.#close()
      return
    }
    const { id, topic, group, member, memberTimeoutMs } = subscription
    const config = queueConfigToProto(subscription.config)
    this.#respond({ opened: { subscriptionId: id, topic, group, member, config, memberTimeoutMs } })
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

  #settle({ correlationId, settlements }: proto.StreamSettlements): void {
    this.#settling.enter(0)
    const settled = (results: proto.SettleResult[], error?: unknown): void => {
      const failed = error === undefined ? undefined : errorToProto(toRatatoskrError(error))
      this.#respond({ settled: { correlationId, error: failed, results } })
      this.#settling.leave(0)
    }
    const settle = async (): Promise<proto.SettleResult[]> =>
      settleResultsToProto((await this.#subscription?.settle(settlementsFromProto(settlements))) ?? [])
    settle().then(settled, (error: unknown) => settled([], error))
  }

  /** Small responses are not waited for: there is one for each thing the client or the group did. */
  #respond(response: QueueServiceConsumeResponse): void {
    const writing = this.#send(response)
    // A failed write ends the stream, which ends the subscription: nobody need hear it from here as well.
    if (writing !== undefined) writing.catch(() => undefined)
  }

  #send(response: QueueServiceConsumeResponse): Promise<void> | undefined {
    if (this.#writer.over) return undefined
    const bytes = bufferOf(proto.QueueServiceConsumeResponse.encode(response).finish())
    return this.#writer.write(bytes, bytes.length) as Promise<void> | undefined
  }

  #close(): void {
    this.#subscription?.close().catch((error: unknown) => {
      this.#host.logger.warn('subscription to a queue group did not close', { error })
    })
  }
}

const invalid = (message: string): BrokerError => new BrokerError('RTK_INVALID_ARGUMENT', message)

/** A member of a queue group over one `Consume` stream of `QueueService`. */
import * as proto from '../../../proto/index.ts'
import {
  type Clock,
  type ConsumeOptions,
  isRatatoskrError,
  type LeasedSubscription,
  type LeaseSink,
  type QueueCredit,
  RatatoskrError,
  type Settlement,
  type SettleResult,
} from '../../ports/index.ts'
import type { GrpcCall } from './grpc-call.ts'
import type { GrpcChannel } from './grpc-channel.ts'
import { errorFromProto } from './grpc-errors.ts'
import { queueConfigFromProto } from './grpc-queue-config.ts'
import {
  creditToProto,
  leasedFromProto,
  lossReasonFromProto,
  memberToProto,
  settlementsToProto,
  settleResultsFromProto,
} from './grpc-queue-convert.ts'
import { requestBytes } from './grpc-requests.ts'
import { LeaseInbox } from './lease-inbox.ts'

const consumeMethod = {
  ...proto.QueueServiceService.consume,
  responseDeserialize: proto.decodeQueueConsumeResponse,
}

interface Settling extends PromiseWithResolvers<readonly SettleResult[]> {
  readonly count: number
}

export class GrpcLeases {
  readonly #inbox: LeaseInbox
  readonly #stream: GrpcCall
  readonly #opened = Promise.withResolvers<LeasedSubscription>()
  readonly #gone = Promise.withResolvers<void>()
  readonly #settling = new Map<number, Settling>()
  #standing = false
  #lastId = 0
  #closing = false

  private constructor(channel: GrpcChannel, sink: LeaseSink, clock: Clock) {
    this.#inbox = new LeaseInbox(sink, clock, () => void this.#close())
    this.#stream = channel.stream(consumeMethod, {
      response: (response) => this.#arrived(response),
      ended: (reason) => this.#streamEnded(reason),
    })
  }

  /** @throws as `QueueSession.consume` does */
  static async open(
    channel: GrpcChannel,
    clock: Clock,
    topic: string,
    options: ConsumeOptions,
    sink: LeaseSink,
  ): Promise<LeasedSubscription> {
    const credit = options.credit === undefined ? undefined : creditToProto(options.credit)
    const open = proto.frameOf(
      requestBytes(consumeMethod, {
        open: { ...memberToProto(topic, options), credit, begins: options.begins ?? false },
      }),
    )
    const member = new GrpcLeases(channel, sink, clock)
    member.#stream.write(open)
    return member.#opened.promise
  }

  #begun(opened: proto.LeasesOpened): LeasedSubscription {
    const { subscriptionId, topic, group, member, memberTimeoutMs, beginsFrom } = opened
    return {
      id: subscriptionId,
      topic,
      group,
      member,
      config: queueConfigFromProto(opened.config),
      memberTimeoutMs,
      beginsFrom,
      grant: (credit) => this.#grant(credit),
      settle: (settlements) => this.#settle(settlements),
      heartbeat: () => {
        if (!this.#closing) this.#stream.write(frameOf({ heartbeat: {} }))
      },
      close: () => this.#close(),
    }
  }

  #grant(credit: QueueCredit): void {
    if (!this.#closing) this.#stream.write(frameOf({ credit: creditToProto(credit) }))
  }

  async #settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    if (this.#closing) throw closedError()
    const correlationId = ++this.#lastId
    const request = frameOf({ settle: { correlationId, settlements: settlementsToProto(settlements) } })
    const settling = { ...Promise.withResolvers<readonly SettleResult[]>(), count: settlements.length }
    this.#settling.set(correlationId, settling)
    this.#stream.write(request)
    return settling.promise
  }

  /** Resolves when the broker has closed the subscription too, so that what was leased comes again by then. */
  #close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true
      this.#stream.end()
      this.#inbox.end(undefined)
    }
    return this.#gone.promise
  }

  #arrived({ opened, assigned, leased, settled, lost }: proto.QueueServiceConsumeResponse): void {
    if (settled !== undefined) this.#settled(settled)
    else if (opened !== undefined) {
      this.#standing = true
      try {
        this.#opened.resolve(this.#begun(opened))
      } catch (error) {
        this.#opened.reject(error)
        void this.#close()
      }
    } else if (leased !== undefined) this.#inbox.deliver(leasedFromProto(leased))
    else if (assigned !== undefined) this.#inbox.assigned(assigned.partitions)
    else if (lost !== undefined) this.#inbox.lost(lost.ranges, lossReasonFromProto(lost.reason))
  }

  #settled({ correlationId, error, results }: proto.SettlementsResult): void {
    const settling = this.#settling.get(correlationId)
    if (settling === undefined) return
    this.#settling.delete(correlationId)
    try {
      if (error !== undefined) throw errorFromProto(error)
      settling.resolve(settleResultsFromProto(results, settling.count))
    } catch (failed) {
      settling.reject(failed)
    }
  }

  #streamEnded(reason: RatatoskrError | undefined): void {
    const lost = reason ?? closedError()
    this.#opened.reject(lost)
    for (const { reject } of this.#settling.values()) reject(lost)
    this.#settling.clear()
    this.#gone.resolve()
    const closing = this.#closing
    this.#closing = true
    // A subscription that never stood is told of by the rejection of `open`, and one that was closed here has ended.
    if (!this.#standing || closing) return
    // The holder closed the link: nothing is handed over after that.
    if (isRatatoskrError(reason, 'RTK_CLOSED')) this.#inbox.end(undefined)
    else this.#inbox.ended(reason ?? new RatatoskrError('RTK_DISCONNECTED', 'the broker ended the stream'))
  }
}

/** Of requests whose numbers are checked. */
const frameOf = (request: proto.QueueServiceConsumeRequest): proto.MessageFrame =>
  proto.frameOf(consumeMethod.requestSerialize(request))

const closedError = (): RatatoskrError => new RatatoskrError('RTK_CLOSED', 'the subscription is closed')

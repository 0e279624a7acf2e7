/** Queue groups over gRPC: the operations of a `QueueSession`. */
import * as proto from '../../../proto/index.ts'
import type {
  CallOptions,
  Clock,
  ConsumeOptions,
  LeasedSubscription,
  LeaseSink,
  QueueChanges,
  QueueConfig,
  QueueDescription,
  SettleRequest,
  SettleResult,
  StartPosition,
  Taken,
  TakeRequest,
} from '../../ports/index.ts'
import type { GrpcChannel } from './grpc-channel.ts'
import { positionToProto } from './grpc-convert.ts'
import { GrpcLeases } from './grpc-leases.ts'
import { queueConfigToProto } from './grpc-queue-config.ts'
import {
  leasedFromProto,
  memberToProto,
  queueFromProto,
  settlementsToProto,
  settleResultsFromProto,
} from './grpc-queue-convert.ts'
import type { QueueOperations } from './link-with-queues.ts'

const queues = proto.QueueServiceService

export class GrpcQueues implements QueueOperations {
  readonly #channel: GrpcChannel
  readonly #clock: Clock

  constructor(channel: GrpcChannel, clock: Clock) {
    this.#channel = channel
    this.#clock = clock
  }

  consume(topic: string, options: ConsumeOptions, sink: LeaseSink): Promise<LeasedSubscription> {
    return GrpcLeases.open(this.#channel, this.#clock, topic, options, sink)
  }

  async take(topic: string, request: TakeRequest, call?: CallOptions): Promise<Taken> {
    const { messagesMax, bytesMax, waitMs } = request
    const message = { ...memberToProto(topic, request), messagesMax, bytesMax, waitMs }
    const taken = await this.#channel.unary(queues.take, message, call?.signal)
    return { ...taken, batches: taken.batches.map(leasedFromProto) }
  }

  async settle(topic: string, request: SettleRequest): Promise<readonly SettleResult[]> {
    const { group, member = '' } = request
    const settlements = settlementsToProto(request.settlements)
    const { results } = await this.#channel.unary(queues.settle, { topic, group, member, settlements })
    return settleResultsFromProto(results, settlements.length)
  }

  async heartbeat(topic: string, group: string, member: string): Promise<void> {
    await this.#channel.unary(queues.heartbeat, { topic, group, member })
  }

  async leaveQueue(topic: string, group: string, member: string): Promise<void> {
    await this.#channel.unary(queues.leaveQueue, { topic, group, member })
  }

  async createQueue(
    topic: string,
    group: string,
    config?: Partial<QueueConfig>,
    from?: StartPosition,
  ): Promise<QueueDescription> {
    const response = await this.#channel.unary(queues.createQueue, {
      topic,
      group,
      config: config === undefined ? undefined : queueConfigToProto(config),
      from: from === undefined ? undefined : positionToProto(from),
    })
    return queueFromProto(response.queue)
  }

  async alterQueue(topic: string, group: string, changes: QueueChanges): Promise<QueueDescription> {
    const unset = Object.entries(changes).filter(([, value]) => value === null)
    const set = Object.entries(changes).filter(([, value]) => value !== null)
    const request = {
      topic,
      group,
      changes: queueConfigToProto(Object.fromEntries(set)),
      unset: unset.map(([name]) => name),
    }
    return queueFromProto((await this.#channel.unary(queues.alterQueue, request)).queue)
  }

  async describeQueue(topic: string, group: string): Promise<QueueDescription> {
    return queueFromProto((await this.#channel.unary(queues.getQueue, { topic, group })).queue)
  }

  async pauseQueue(
    topic: string,
    group: string,
    paused: boolean,
    partitions: readonly number[] = [],
  ): Promise<void> {
    await this.#channel.unary(queues.pauseQueue, { topic, group, paused, partitions: [...partitions] })
  }
}

/** Taking messages of a queue group by polling, for who has no use for a subscription: leases and settlements as they are. */
import {
  type BatchSource,
  type LeasedBatch,
  type Message,
  messagesOf,
  type StartPosition,
  type Taken,
  type TakeRequest,
} from '../../ports/index.ts'
import type { ClientCallOptions } from '../call.ts'
import type { ClientContext } from '../context.ts'
import type { Link } from '../link.ts'
import { topicFacts } from '../topic-facts.ts'

/** What to take, and as which member. */
export interface TakeOptions extends ClientCallOptions, Omit<TakeRequest, 'group'> {}

/** As whom to call. */
export interface MemberCallOptions extends ClientCallOptions {
  /** The member that settles: a sign of life of it. */
  readonly member?: string | undefined
}

/** Where a new queue group begins. */
export interface CreateQueueOptions extends ClientCallOptions {
  /** `earliest` by default. */
  readonly from?: StartPosition | undefined
}

/** What was taken. */
export interface TakenBatches extends Omit<Taken, 'batches' | 'topicId'> {
  readonly batches: readonly TakenBatch[]
}

/** Messages of one partition that were leased together. */
export class TakenBatch implements LeasedBatch {
  readonly partition: number
  readonly lease: number
  readonly bytes: Uint8Array
  readonly recordCount: number
  readonly firstOffset: number
  readonly lastOffset: number
  readonly attempt: number
  readonly redelivered: boolean
  readonly leaseMs: number
  readonly #source: BatchSource

  constructor(batch: LeasedBatch, source: BatchSource) {
    this.partition = batch.partition
    this.lease = batch.lease
    this.bytes = batch.bytes
    this.recordCount = batch.recordCount
    this.firstOffset = batch.firstOffset
    this.lastOffset = batch.lastOffset
    this.attempt = batch.attempt
    this.redelivered = batch.redelivered
    this.leaseMs = batch.leaseMs
    this.#source = source
  }

  /** The messages, decoded as they are asked for. @throws RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_MALFORMED */
  messages(): Generator<Message, void, undefined> {
    return messagesOf(this.bytes, this.#source)
  }
}

/** Takes, and makes messages of what comes. @throws as `QueueSession.take` does */
export async function takeBatches(
  { platform, limits }: ClientContext,
  link: Link,
  topic: string,
  request: TakeRequest,
  signal: AbortSignal,
): Promise<TakenBatches> {
  const [taken, facts] = await Promise.all([link.take(topic, request, { signal }), topicFacts(link, topic)])
  const source = {
    topic: facts?.text ?? topic,
    topicId: taken.topicId,
    expansion: { codecs: platform.compression, bytesMax: limits.expandedBatchBytesMax },
  }
  return {
    member: taken.member,
    memberTimeoutMs: taken.memberTimeoutMs,
    batches: taken.batches.map((batch) => new TakenBatch(batch, { ...source, partition: batch.partition })),
  }
}

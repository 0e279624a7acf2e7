/** Queue groups over a wire link: the operations of a `QueueSession`, and the members that are pushed to. */
import type {
  CallOptions,
  ConsumeOptions,
  LeasedBatch,
  LeasedFrame,
  LeasedSubscription,
  LeaseSink,
  Platform,
  QueueChanges,
  QueueConfig,
  QueueDescription,
  RatatoskrError,
  SettleRequest,
  SettleResult,
  StartPosition,
  Taken,
  TakeRequest,
} from '../../ports/index.ts'
import { errorFromJson, settleResultsFromJson } from '../../ports/index.ts'
import { abortError, unlessAborted } from '../call.ts'
import type { QueueOperations } from './link-with-queues.ts'
import type { WireChannel } from './wire-channel.ts'
import { type ConsumingReply, WireLeases } from './wire-leases.ts'

export class WireQueues implements QueueOperations {
  readonly #channel: WireChannel
  readonly #platform: Platform
  readonly #freeId: () => number
  /** Platforms without codecs, such as browsers, ask for batches without compression. */
  readonly #expand: true | undefined
  readonly #members = new Map<number, WireLeases>()
  /** What came for each `take` before its reply. */
  readonly #taking = new Map<number, LeasedBatch[]>()

  /** @param freeId gives an id that no subscription or request of the link goes by */
  constructor(channel: WireChannel, platform: Platform, freeId: () => number) {
    this.#channel = channel
    this.#freeId = freeId
    this.#platform = platform
    this.#expand = platform.compression.size === 0 ? true : undefined
  }

  /** True when a member goes by this id. */
  has(id: number): boolean {
    return this.#members.has(id)
  }

  async consume(topic: string, options: ConsumeOptions, sink: LeaseSink): Promise<LeasedSubscription> {
    const id = this.#freeId()
    const forget = (): void => void this.#members.delete(id)
    const member = new WireLeases(id, sink, this.#channel, this.#platform.clock, forget)
    this.#members.set(id, member)
    try {
      const request = { ...options, topic, expand: this.#expand }
      return member.begun((await this.#channel.request('consume', request, id)) as ConsumingReply)
    } catch (error) {
      forget()
      throw error
    }
  }

  async take(topic: string, request: TakeRequest, call: CallOptions = {}): Promise<Taken> {
    const { signal } = call
    if (signal?.aborted) throw abortError(signal, 'take')
    const id = this.#freeId()
    const batches: LeasedBatch[] = []
    this.#taking.set(id, batches)
    const cancel = (): void => this.#channel.notify('cancel', { request: id })
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      const asked = this.#channel.request('take', { ...request, topic, expand: this.#expand }, id)
      const reply = (await unlessAborted(asked, signal, 'take')) as Omit<Taken, 'batches'>
      const { topicId, member, memberTimeoutMs } = reply
      return { topicId, member, memberTimeoutMs, batches }
    } finally {
      signal?.removeEventListener('abort', cancel)
      this.#taking.delete(id)
    }
  }

  async settle(topic: string, request: SettleRequest): Promise<readonly SettleResult[]> {
    const reply = await this.#channel.request('settle', { ...request, topic })
    return settleResultsFromJson((reply as { results?: unknown }).results, request.settlements.length)
  }

  async heartbeat(topic: string, group: string, member: string): Promise<void> {
    await this.#channel.request('heartbeat', { topic, group, member })
  }

  async leaveQueue(topic: string, group: string, member: string): Promise<void> {
    await this.#channel.request('leaveQueue', { topic, group, member })
  }

  async createQueue(
    topic: string,
    group: string,
    config?: Partial<QueueConfig>,
    from?: StartPosition,
  ): Promise<QueueDescription> {
    return (await this.#channel.request('createQueue', { topic, group, config, from })) as QueueDescription
  }

  async alterQueue(topic: string, group: string, changes: QueueChanges): Promise<QueueDescription> {
    return (await this.#channel.request('alterQueue', { topic, group, changes })) as QueueDescription
  }

  async describeQueue(topic: string, group: string): Promise<QueueDescription> {
    return (await this.#channel.request('describeQueue', { topic, group })) as QueueDescription
  }

  async pauseQueue(
    topic: string,
    group: string,
    paused: boolean,
    partitions?: readonly number[],
  ): Promise<void> {
    await this.#channel.request('pauseQueue', { topic, group, paused, partitions })
  }

  /** Messages that were leased, to a member or to a `take`. */
  leased({ kind: _kind, id, ...batch }: LeasedFrame): void {
    const member = this.#members.get(id)
    if (member !== undefined) member.leased(batch)
    else this.#taking.get(id)?.push(batch)
  }

  /** An event of a member. @returns false when there is none of its id */
  event(id: number, event: Readonly<Record<string, unknown>>): boolean {
    const member = this.#members.get(id)
    member?.event(event, (error) => (error === undefined ? undefined : errorFromJson(error)))
    return member !== undefined
  }

  /** The link is over. */
  over(reason: RatatoskrError | undefined): void {
    for (const member of this.#members.values()) member.lost(reason)
    this.#members.clear()
  }
}

/** What the cases of queue groups share: a broker with a topic, and members that keep what they are given. */
import {
  batchStarts,
  type ConsumeOptions,
  type LeasedBatch,
  type LeasedSubscription,
  type LeaseLossReason,
  type LeaseRange,
  type LeaseSink,
  type QueueConfig,
  type RatatoskrError,
  RecordCursor,
  type Settlement,
  type SettlementAction,
  type SettleResult,
  utf8,
} from 'ratatoskr/ports'
import { within } from '../suite.ts'
import { type RunningBroker, settle, type TransportContext, textMessage } from './context.ts'
import type { QueueProbe, TransportProbe } from './probe.ts'

/** How long anything may take that is to happen at once. */
const waitMs = 5_000

/** A message that a member has, and what it has to say to settle it. */
export interface Held {
  readonly partition: number
  readonly lease: number
  readonly offset: number
  readonly attempt: number
  readonly redelivered: boolean
}

/** The messages of a delivery, one by one. */
export function heldOf({ bytes, partition, lease, attempt, redelivered }: LeasedBatch): Held[] {
  const held: Held[] = []
  const cursor = new RecordCursor()
  for (const at of batchStarts(bytes)) {
    cursor.open(bytes, at)
    while (cursor.next()) held.push({ partition, lease, offset: cursor.offset, attempt, redelivered })
  }
  return held
}

/** What settles one message. */
export const settlementOf = (
  { partition, lease, offset }: Held,
  action: SettlementAction,
  more: Partial<Settlement> = {},
): Settlement => ({ partition, lease, from: offset, to: offset + 1, action, ...more })

/** A member that keeps what it is given and told. */
class Worker implements LeaseSink {
  readonly held: Held[] = []
  readonly batches: LeasedBatch[] = []
  readonly losses: { readonly ranges: readonly LeaseRange[]; readonly reason: LeaseLossReason }[] = []
  readonly assignments: (readonly number[])[] = []
  readonly ends: (RatatoskrError | undefined)[] = []
  subscription!: LeasedSubscription
  #changed = () => {}

  deliver(batch: LeasedBatch): void {
    this.batches.push(batch)
    this.held.push(...heldOf(batch))
    this.#changed()
  }

  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void {
    this.losses.push({ ranges, reason })
    this.#changed()
  }

  assigned(partitions: readonly number[]): void {
    this.assignments.push(partitions)
    this.#changed()
  }

  ended(reason: RatatoskrError | undefined): void {
    this.ends.push(reason)
    this.#changed()
  }

  get offsets(): number[] {
    return this.held.map(({ offset }) => offset)
  }

  /** Settles when `there` says so. */
  until(there: () => boolean, what: string): Promise<void> {
    const wait = async (): Promise<void> => {
      while (!there()) {
        await new Promise<void>((resolve) => {
          this.#changed = resolve
        })
      }
    }
    return within(wait(), waitMs, what)
  }

  async has(count: number): Promise<readonly Held[]> {
    await this.until(() => this.held.length >= count, `${count} messages (got ${this.held.length})`)
    return this.held
  }

  async settle(held: Held, action: SettlementAction, more: Partial<Settlement> = {}): Promise<SettleResult> {
    const [result] = await this.subscription.settle([settlementOf(held, action, more)])
    return result
  }
}

export interface QueueCase extends RunningBroker {
  readonly probe: TransportProbe
  readonly queues: QueueProbe
  join(
    options?: Partial<ConsumeOptions> & { readonly config?: Partial<QueueConfig> },
    queues?: QueueProbe,
  ): Promise<Worker>
  publish(count: number): Promise<void>
  publishKeys(...keys: string[]): Promise<void>
  /** A moment in which anything that is wrongly on its way would arrive. */
  moment(): Promise<void>
}

/** A broker with the topic `orders`; undefined where the protocol has no queue groups. */
export async function queueCase(context: TransportContext, partitions = 1): Promise<QueueCase | undefined> {
  const running = await context.broker()
  const probe = await running.connect()
  const { queues } = probe
  if (queues === undefined) return undefined
  await probe.createTopic('orders', { partitions })
  return {
    ...running,
    probe,
    queues,
    async join(options = {}, over = queues) {
      const worker = new Worker()
      const wished = { group: 'g', credit: { messages: 1_000, bytes: 1_000_000 }, ...options }
      worker.subscription = await over.consume('orders', wished, worker)
      return worker
    },
    async publish(count) {
      for (let i = 0; i < count; i++) await probe.publish('orders', textMessage(`m${i}`))
    },
    async publishKeys(...keys) {
      for (const key of keys)
        await probe.publish('orders', textMessage(key, { key: utf8(key), partition: 0 }))
    },
    moment: () => settle(probe, 'orders'),
  }
}

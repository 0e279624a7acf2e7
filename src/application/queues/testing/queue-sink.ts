/** A member of a queue group that remembers what it was given and told. */
import {
  batchStarts,
  type ConsumeOptions,
  type LeasedBatch,
  type LeasedSubscription,
  type LeaseRange,
  type LeaseSink,
  type RatatoskrError,
  RecordCursor,
  type Session,
  type Settlement,
  type SettleResult,
} from '../../../ports/index.ts'

export class QueueSink implements LeaseSink {
  readonly batches: LeasedBatch[] = []
  readonly losses: { readonly ranges: readonly LeaseRange[]; readonly reason: string }[] = []
  readonly assignments: (readonly number[])[] = []
  readonly ends: (RatatoskrError | undefined)[] = []
  onDeliver: (batch: LeasedBatch) => void | Promise<void> = () => {}
  subscription!: LeasedSubscription

  async join(session: Session, topic: string, options: ConsumeOptions): Promise<this> {
    this.subscription = await session.consume(topic, options, this)
    return this
  }

  deliver(batch: LeasedBatch): void | Promise<void> {
    this.batches.push(batch)
    return this.onDeliver(batch)
  }

  lost(ranges: readonly LeaseRange[], reason: string): void {
    this.losses.push({ ranges, reason })
  }

  assigned(partitions: readonly number[]): void {
    this.assignments.push(partitions)
  }

  ended(reason: RatatoskrError | undefined): void {
    this.ends.push(reason)
  }

  /** Offsets of all records that came, in the order in which they came. */
  get offsets(): number[] {
    return this.batches.flatMap(offsetsOf)
  }

  /** Settles the delivery at `place` as a whole. */
  async settle(
    place: number,
    action: Settlement['action'],
    more: Partial<Settlement> = {},
  ): Promise<readonly SettleResult[]> {
    const { partition, lease, firstOffset, lastOffset } = this.batches[place]
    const settlement = { partition, lease, from: firstOffset, to: lastOffset + 1, action, ...more }
    return await this.subscription.settle([settlement])
  }

  ack(place: number): Promise<readonly SettleResult[]> {
    return this.settle(place, 'ack')
  }
}

/** Offsets of the records of a delivery. */
export function offsetsOf({ bytes }: Pick<LeasedBatch, 'bytes'>): number[] {
  const offsets: number[] = []
  const cursor = new RecordCursor()
  for (const at of batchStarts(bytes)) {
    cursor.open(bytes, at)
    while (cursor.next()) offsets.push(cursor.offset)
  }
  return offsets
}

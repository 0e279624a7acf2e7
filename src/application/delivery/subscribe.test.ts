import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import type {
  BatchDelivery,
  BatchSink,
  Limits,
  MessageSink,
  PartitionOffset,
  RatatoskrError,
} from '../../ports/index.ts'
import { makeLimits, messagesOf, utf8Text } from '../../ports/index.ts'
import {
  batchOf,
  codeOf,
  HooksDouble,
  platformOn,
  StateStoreDouble,
  someone,
  TopicDouble,
} from './doubles.ts'
import { createDelivery } from './index.ts'

function setup(partitions = 1, limits: Partial<Limits> = {}) {
  const clock = new ManualClock()
  const platform = platformOn(clock)
  const hooks = new HooksDouble()
  const stateStore = new StateStoreDouble()
  const delivery = createDelivery({ platform, limits: makeLimits(limits), hooks, stateStore })
  return { clock, platform, hooks, stateStore, delivery, topic: new TopicDouble(partitions) }
}

class SinkDouble implements BatchSink {
  readonly deliveries: BatchDelivery[] = []
  readonly assignments: (readonly PartitionOffset[])[] = []
  readonly ends: (RatatoskrError | undefined)[] = []
  onDeliver: (delivery: BatchDelivery) => void | Promise<void> = () => {}
  deliver(delivery: BatchDelivery): void | Promise<void> {
    this.deliveries.push(delivery)
    return this.onDeliver(delivery)
  }
  assigned(partitions: readonly PartitionOffset[]): void {
    this.assignments.push(partitions)
  }
  ended(reason: RatatoskrError | undefined): void {
    this.ends.push(reason)
  }
}

describe('subscribing to batches', () => {
  it('delivers what is there and what comes', async () => {
    const { delivery, topic, clock } = setup()
    topic.partitions[0].publish(batchOf(3))
    const sink = new SinkDouble()
    await delivery.subscribe(topic, { from: 'earliest', credit: { bytes: 100_000 } }, sink, someone)
    await clock.advance(1)
    expect(sink.deliveries.map((d) => [d.fromOffset, d.nextOffset])).toEqual([[0, 3]])
    topic.partitions[0].publish(batchOf(2))
    await clock.advance(1)
    expect(sink.deliveries.map((d) => [d.fromOffset, d.nextOffset])).toEqual([
      [0, 3],
      [3, 5],
    ])
    expect(sink.assignments).toEqual([[{ partition: 0, offset: 0 }]])
  })
})

/** Messages that expire, on the broker's clock: when they are still delivered, and what stepping over them costs. */
import { describe, expect, it } from 'vitest'
import { BatchBuilder, utf8 } from '../../ports/index.ts'
import { DeliveryBench, gate, MessageSinkDouble, plenty, range } from './testing/delivery-bench.ts'

/** Publishes a batch of one message for each time; undefined never expires. */
function publish(bench: DeliveryBench, times: readonly (number | undefined)[]): void {
  const builder = new BatchBuilder({ checksum: () => 0 })
  for (const expiresAtMs of times) builder.add({ payload: utf8('x'), timestampMs: 1, expiresAtMs })
  bench.topic.partitions[0].publish(builder.build())
}

const earliest = { from: 'earliest', credit: plenty } as const

describe('a message that expires', () => {
  it('is delivered a millisecond before its time, and not at it', async () => {
    const bench = new DeliveryBench()
    const expiresAtMs = bench.clock.now() + 1_000
    publish(bench, [undefined, expiresAtMs, undefined])
    await bench.clock.advance(999)
    const before = await bench.subscribeMessages(earliest)
    await bench.settle()
    await bench.clock.advance(1)
    const after = await bench.subscribeMessages(earliest)
    await bench.settle()
    expect([before.offsets, after.offsets]).toEqual([
      [0, 1, 2],
      [0, 2],
    ])
    expect(before.messages.map((one) => one.expiresAtMs)).toEqual([undefined, expiresAtMs, undefined])
    expect(before.messages[1].headers).toEqual([])
  })

  it('is looked at when its turn comes, not when it was read', async () => {
    const bench = new DeliveryBench()
    const expiresAtMs = bench.clock.now() + 1_000
    publish(bench, [undefined, expiresAtMs, undefined, expiresAtMs, undefined])
    const sink = await bench.subscribeMessages({ from: 'earliest', credit: { messages: 1 } })
    await bench.settle()
    await bench.clock.advance(1_000)
    sink.subscription.grant({ messages: 1 })
    await bench.settle()
    expect(sink.offsets).toEqual([0, 2])
    sink.subscription.grant({ messages: 1 })
    await bench.settle()
    expect(sink.offsets).toEqual([0, 2, 4])
  })

  it('costs no credit and counts as no delivery', async () => {
    const bench = new DeliveryBench()
    const past = bench.clock.now()
    publish(bench, [past, undefined, past, past, undefined, past])
    const sink = await bench.subscribeMessages({ from: 'earliest', credit: { messages: 2 } })
    await bench.settle()
    expect(sink.offsets).toEqual([1, 4])
    expect(bench.delivery.totals.messagesDelivered).toBe(2)
    publish(bench, [past, undefined])
    sink.subscription.grant({ messages: 1 })
    await bench.settle()
    expect(sink.offsets).toEqual([1, 4, 7])
  })

  it('does not hold up the cursor: after a rebalance the partition begins behind it', async () => {
    const bench = new DeliveryBench()
    publish(bench, [bench.clock.now(), bench.clock.now()])
    const sink = await bench.subscribeMessages({ group: 'g', credit: plenty })
    await bench.settle()
    publish(bench, [undefined])
    await bench.settle()
    expect(sink.offsets).toEqual([2])
    await sink.commit({ partition: 0, offset: 3 })
    expect((await bench.delivery.describeGroup(bench.topic, 'g')).lag).toBe(0)
  })

  it('is stepped over in masses without keeping the event loop from others', async () => {
    const bench = new DeliveryBench()
    const past = range(0, 1_000).map(() => bench.clock.now())
    for (let batch = 0; batch < 1_000; batch++) publish(bench, past)
    publish(bench, [undefined])
    const sink = await bench.subscribeMessages(earliest)
    for (let turn = 0; turn < 100; turn++) await Promise.resolve()
    expect(sink.offsets).toEqual([]) // more than a turn of the event loop may take
    for (let turn = 0; turn < 10 && sink.offsets.length === 0; turn++) await bench.clock.advance(1)
    expect(sink.offsets).toEqual([1_000_000])
  })

  it('waits like any other for a sink that is full', async () => {
    const bench = new DeliveryBench()
    const expiresAtMs = bench.clock.now() + 1_000
    publish(bench, [undefined, expiresAtMs, undefined])
    const sink = new MessageSinkDouble()
    const full = gate()
    sink.onDeliver = ({ offset }) => (offset === 0 ? full.promise : undefined)
    await bench.subscribeMessages(earliest, sink)
    await bench.clock.advance(1_000)
    full.resolve()
    await bench.settle()
    expect(sink.offsets).toEqual([0, 2])
  })
})

/** Where a group begins, and where a seek puts it. */
import { describe, expect, it } from 'vitest'
import { DeliveryBench, gate, plenty, range } from '../delivery/testing/delivery-bench.ts'
import { batchOf } from '../delivery/testing/topic-double.ts'
import { codeOf } from '../testing/broker-bench.ts'
import { commit, describeGroup } from './testing/billing-group.ts'

describe('where a group begins', () => {
  it('is the first message by default, and the committed offset from then on, whatever is asked', async () => {
    const bench = new DeliveryBench()
    bench.publish(4)
    const a = await bench.member('a')
    await bench.settle()
    expect(a.ranges).toEqual(['0:0-4'])
    await a.commit({ partition: 0, offset: 2 })
    await a.subscription.close()
    const b = await bench.subscribe({ group: 'billing', from: 'latest', credit: plenty })
    await bench.settle()
    expect(b.ranges).toEqual(['0:2-4'])
  })

  it('R33: is kept, so that a hundred messages published while all are away are there on return', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    const live = await bench.subscribe({ credit: plenty })
    const away = await bench.subscribe({ group: 'billing', from: 'latest', credit: plenty })
    await away.subscription.close()
    for (let i = 0; i < 100; i++) bench.publish(1)
    await bench.settle()
    expect(live.offsetsOf(0)).toEqual(range(5, 105))
    await bench.restart()
    const back = await bench.subscribe({ group: 'billing', from: 'latest', credit: plenty })
    await bench.settle()
    expect(back.offsetsOf(0)).toEqual(range(5, 105))
  })

  it('is decided by the first of those who come together', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(4, 0)
    const joining = [
      bench.subscribe({ group: 'g', member: 'a', from: { timestampMs: 3 }, credit: plenty }),
      bench.subscribe({ group: 'g', member: 'b', from: 'earliest', credit: plenty }),
    ]
    const [a, b] = await Promise.all(joining)
    await bench.settle()
    expect([...a.ranges, ...b.ranges]).toEqual(['0:3-4'])
  })

  it('is no more looked for when a seek was faster', async () => {
    const bench = new DeliveryBench()
    bench.publish(6)
    const found = gate()
    bench.topic.partitions[0].offsetForTime = async () => {
      await found.promise
      return 1
    }
    const joining = bench.subscribe({ group: 'billing', from: { timestampMs: 1 }, credit: plenty })
    await bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset: 4 } })
    found.resolve()
    const sink = await joining
    await bench.settle()
    expect(sink.ranges).toEqual(['0:4-6'])
  })

  it('is still looked for when another call finds the group unused', async () => {
    const bench = new DeliveryBench()
    const joining = bench.subscribe({ group: 'billing', member: 'a', from: { timestampMs: 0 } })
    expect(await codeOf(() => commit(bench, 7))).toBe('RTK_OFFSET_OUT_OF_RANGE')
    await joining
    expect((await describeGroup(bench)).members).toEqual([{ member: 'a', partitions: [0] }])
  })

  it('is refused when it is out of range, and nothing is left of the group', async () => {
    const bench = new DeliveryBench()
    expect(await codeOf(() => bench.subscribe({ group: 'g', from: { offset: 7 } }))).toBe(
      'RTK_OFFSET_OUT_OF_RANGE',
    )
    expect(await bench.delivery.listGroups(bench.topic)).toEqual([])
    expect(bench.hooks.of('subscriberJoined')).toEqual([])
  })

  it('must be stored: else nobody joins, and the next try begins anew', async () => {
    const bench = new DeliveryBench()
    bench.state.onChange = () => {
      throw new Error('private')
    }
    const joining = ['a', 'b'].map((member) => codeOf(() => bench.member(member)))
    expect(await Promise.all(joining)).toEqual(['RTK_STORE_FAILED', 'RTK_STORE_FAILED'])
    expect(await bench.delivery.listGroups(bench.topic)).toEqual([])
    bench.state.onChange = () => {}
    expect((await bench.member('a')).owned).toEqual([0])
  })
})

describe('seeking', () => {
  it('R49: moves a running member, to an offset, a time, the beginning or the end', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(6, 0)
    bench.publish(6, 1)
    const a = await bench.member('a')
    await bench.settle()
    await a.commit({ partition: 0, offset: 6 }, { partition: 1, offset: 6 })
    const seek = (
      position: Parameters<typeof bench.delivery.seekGroup>[2]['position'],
      partitions?: number[],
    ) => bench.delivery.seekGroup(bench.topic, 'billing', { position, partitions })
    const ranges = async () => {
      await bench.settle()
      return a.deliveries
        .splice(0)
        .map((one) => `${one.partition}:${one.fromOffset}-${one.nextOffset}`)
        .sort()
    }
    await ranges()
    expect(await seek({ offset: 4 })).toEqual([
      { partition: 0, offset: 4 },
      { partition: 1, offset: 4 },
    ])
    expect(await ranges()).toEqual(['0:4-6', '1:4-6'])
    expect(a.assignments.at(-1)).toEqual([
      { partition: 0, offset: 4 },
      { partition: 1, offset: 4 },
    ])
    expect(await seek({ timestampMs: 5 }, [1])).toEqual([{ partition: 1, offset: 5 }])
    expect(await ranges()).toEqual(['1:5-6'])
    await seek('earliest')
    expect(await ranges()).toEqual(['0:0-6', '1:0-6'])
    expect((await describeGroup(bench)).lag).toBe(12)
    await seek('latest')
    expect(await ranges()).toEqual([])
    expect((await describeGroup(bench)).lag).toBe(0)
    await seek({ offsets: [{ partition: 1, offset: 3 }] })
    expect(await ranges(), 'partitions that are not named stay').toEqual(['1:3-6'])
    await seek({ offsets: [{ partition: 1, offset: 3 }], otherwise: 'earliest' })
    expect(await ranges()).toEqual(['0:0-6', '1:3-6'])
  })

  it('is not undone by commits of what was read before it', async () => {
    const bench = new DeliveryBench()
    bench.publish(10)
    const credit = { bytes: batchOf(10).length }
    const a = await bench.subscribe({ group: 'billing', member: 'a', credit })
    await bench.settle()
    const write = gate()
    bench.state.onChange = () => write.promise
    const seeking = bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset: 2 } })
    await bench.settle()
    const during = await codeOf(() => a.commit({ partition: 0, offset: 10 }))
    write.resolve()
    await seeking
    const after = await codeOf(() => a.commit({ partition: 0, offset: 10 }))
    expect([during, after]).toEqual(['RTK_LEASE_LOST', 'RTK_LEASE_LOST'])
    expect((await describeGroup(bench)).partitions[0].committedOffset).toBe(2)
    a.subscription.grant(credit)
    await bench.settle()
    expect(a.ranges).toEqual(['0:0-10', '0:2-10'])
    await a.commit({ partition: 0, offset: 10 })
    expect((await describeGroup(bench)).lag).toBe(0)
  })

  it('overtakes a commit whose write is under way', async () => {
    const bench = new DeliveryBench()
    bench.publish(10)
    const a = await bench.member('a')
    await bench.settle()
    const committing = a.commit({ partition: 0, offset: 8 })
    await bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset: 1 } })
    await committing
    expect((await describeGroup(bench)).partitions[0].committedOffset).toBe(1)
  })

  it('that cannot be stored changes nothing', async () => {
    const bench = new DeliveryBench()
    bench.publish(4)
    const a = await bench.member('a')
    await bench.settle()
    bench.state.onChange = () => {
      throw new Error('private')
    }
    const seek = () => bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset: 2 } })
    expect(await codeOf(seek)).toBe('RTK_STORE_FAILED')
    bench.state.onChange = () => {}
    await bench.settle()
    expect(a.ranges).toEqual(['0:0-4'])
    await a.commit({ partition: 0, offset: 4 })
    expect((await describeGroup(bench)).lag).toBe(0)
  })

  it('prepares a group that does not exist yet, and refuses what is out of range', async () => {
    const bench = new DeliveryBench()
    bench.publish(4)
    const seek = (offset: number) =>
      bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset } })
    expect(await codeOf(() => seek(5))).toBe('RTK_OFFSET_OUT_OF_RANGE')
    expect(await bench.delivery.listGroups(bench.topic)).toEqual([])
    await seek(3)
    const a = await bench.member('a')
    await bench.settle()
    expect(a.ranges).toEqual(['0:3-4'])
  })
})

/**
 * R139, delivery guarantees: random lives of a group against a model. A partition has one owner at most; what was
 * committed never comes again; what was not committed comes until it is; and nothing is lost over crashes of members,
 * rebalances, failed writes and restarts of the broker.
 */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { FetchedBatch } from '../../ports/index.ts'
import { DeliveryBench, plenty, range, SinkDouble, someone } from '../delivery/testing/delivery-bench.ts'
import { codeOf } from '../testing/broker-bench.ts'

const group = 'billing'

type Step =
  | { readonly do: 'publish'; readonly partition: number; readonly count: number }
  | { readonly do: 'join' | 'crash' | 'poll'; readonly name: string }
  | { readonly do: 'commit'; readonly name: string; readonly share: number }
  | { readonly do: 'sickStore'; readonly writes: number }
  | { readonly do: 'addPartition' | 'restart' | 'settle' | 'silence' }

const name = fc.constantFrom('a', 'b', 'c', 'd')
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('publish'),
      partition: fc.nat(4),
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('join', 'crash', 'poll', 'poll'), name }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('commit'),
      name,
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('sickStore'), writes: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('settle', 'settle', 'settle', 'addPartition', 'restart', 'silence'),
    }),
  },
)

/** The group as its members see it. */
class Model {
  readonly bench = new DeliveryBench({ partitions: 2, limits: { memberTimeoutMs: 10_000 } })
  readonly pushed = new Map<string, SinkDouble>()
  /** What a member has seen of a partition since it got it: up to there it may commit. */
  readonly seen = new Map<string, Map<number, number>>()
  /** Offsets whose commit was confirmed, a partition each. */
  readonly confirmed: number[] = []
  /** Offsets that were seen by anybody, a partition each. */
  readonly delivered: Set<number>[] = []
  sickWrites = 0

  constructor() {
    this.bench.state.onChange = () => {
      if (this.sickWrites === 0) return
      this.sickWrites--
      throw new Error('the store is sick')
    }
  }

  see(
    member: string,
    { partition, fromOffset, nextOffset }: Pick<FetchedBatch, 'partition' | 'fromOffset' | 'nextOffset'>,
  ): void {
    expect(fromOffset, 'nothing comes again once its commit was confirmed').toBeGreaterThanOrEqual(
      this.confirmed[partition] ?? 0,
    )
    const places = this.seen.get(member) ?? new Map<number, number>()
    this.seen.set(member, places)
    const place = places.get(partition)
    if (place !== undefined) expect(fromOffset, 'a member reads on without a gap').toBeLessThanOrEqual(place)
    places.set(partition, nextOffset)
    this.delivered[partition] ??= new Set()
    for (const offset of range(fromOffset, nextOffset)) this.delivered[partition].add(offset)
  }

  async join(member: string): Promise<void> {
    const sink = new SinkDouble()
    sink.onDeliver = (delivery) => this.see(member, delivery)
    this.seen.delete(member)
    try {
      await this.bench.subscribe({ group, member, credit: plenty }, sink)
    } catch {
      return // the store was sick
    }
    this.pushed.set(member, sink)
  }

  async poll(member: string): Promise<void> {
    if (this.pushed.has(member)) return
    const taken = this.bench.delivery.fetchGroup(this.bench.topic, { group, member }, someone)
    for (const batch of await taken.catch(() => [])) this.see(member, batch)
  }

  async crash(member: string): Promise<void> {
    await this.pushed.get(member)?.subscription.close()
    this.pushed.delete(member)
    this.seen.delete(member)
  }

  /** Commits a share of what the member has seen. */
  async commit(member: string, share: number): Promise<void> {
    for (const [partition, place] of this.seen.get(member) ?? []) {
      const before = this.confirmed[partition] ?? 0
      const offset = Math.max(0, Math.round(before + (place - before) * share))
      const request = { group, member, offsets: [{ partition, offset }] }
      const code = await codeOf(() => this.bench.delivery.commit(this.bench.topic, request))
      if (code === undefined) this.confirmed[partition] = Math.max(before, offset)
      else expect(code).toMatch(/RTK_(LEASE_LOST|STORE_FAILED|GROUP_NOT_FOUND)/)
    }
  }

  async restart(): Promise<void> {
    await this.bench.restart()
    this.pushed.clear()
    this.seen.clear()
  }

  async assertOwners(): Promise<void> {
    const { bench } = this
    if (!(await bench.delivery.listGroups(bench.topic)).includes(group)) return
    const { members, partitions, lag } = await bench.delivery.describeGroup(bench.topic, group)
    const owned = members.flatMap((member) => member.partitions)
    expect(new Set(owned).size, 'a partition has one owner').toBe(owned.length)
    if (members.length > 0) expect(owned).toHaveLength(bench.topic.partitions.length)
    const sizes = members.map((member) => member.partitions.length)
    if (sizes.length > 0) expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
    expect(lag).toBe(partitions.reduce((sum, one) => sum + one.stableOffset - (one.committedOffset ?? 0), 0))
    for (const { partition, committedOffset } of partitions) {
      expect(committedOffset ?? 0).toBeGreaterThanOrEqual(this.confirmed[partition] ?? 0)
    }
  }

  async take(one: Step): Promise<void> {
    const { bench } = this
    if (one.do === 'publish') bench.publish(one.count, one.partition % bench.topic.partitions.length)
    else if (one.do === 'commit') await this.commit(one.name, one.share)
    else if (one.do === 'sickStore') this.sickWrites = one.writes
    else if (one.do === 'join' || one.do === 'crash' || one.do === 'poll') await this[one.do](one.name)
    else if (one.do === 'addPartition') {
      if (bench.topic.partitions.length < 5) bench.topic.addPartition()
    } else if (one.do === 'restart') await this.restart()
    else if (one.do === 'silence') await bench.clock.advance(10_000)
    else await bench.settle()
  }

  /** A last member takes and commits what is left: then everything was delivered. */
  async drain(): Promise<void> {
    const { bench } = this
    this.sickWrites = 0
    for (const member of [...this.pushed.keys()]) await this.crash(member)
    await bench.clock.advance(10_000)
    await this.join('last')
    await bench.settle()
    await this.commit('last', 1)
    const described = await bench.delivery.describeGroup(bench.topic, group)
    expect(described.lag).toBe(0)
    for (const { index, endOffset } of bench.topic.partitions) {
      expect([...(this.delivered[index] ?? [])].sort((a, b) => a - b)).toEqual(range(0, endOffset))
    }
  }
}

it('delivery guarantees: one owner, nothing lost, nothing confirmed comes again', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 50 }), async (steps) => {
      const model = new Model()
      for (const one of steps) {
        await model.take(one)
        await model.assertOwners()
      }
      await model.drain()
    }),
    { numRuns: 400 },
  )
})

/**
 * Queue groups over random histories: members that come, go and fall silent, settlements of every kind, crashes of the broker,
 * seeks of time. Whatever happens, what was acknowledged and stored never comes again, nothing is lost, keys stay in order,
 * credit is never exceeded, and attempts count what happened.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LeasedBatch, Sharing } from '../../ports/index.ts'
import { rounds } from '../../testing/rounds.ts'
import { QueueBench } from './testing/queue-bench.ts'
import { offsetsOf, QueueSink } from './testing/queue-sink.ts'

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      keys: fc.array(fc.constantFrom('a', 'b', 'c', ''), { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('ack' as const, 'nack' as const, 'release' as const, 'extend' as const),
      pick: fc.nat(50),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('join' as const), credit: fc.integer({ min: 1, max: 5 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('grant' as const),
      pick: fc.nat(5),
      credit: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), pick: fc.nat(5) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 40, 100, 1_000, 5_000) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('crash' as const, 'restart' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

interface Member {
  readonly sink: QueueSink
  granted: number
  given: number
}

interface HeldMessage {
  readonly member: Member
  readonly batch: LeasedBatch
  readonly offset: number
}

/** A group under test, and what must be true of it. */
class History {
  readonly bench: QueueBench
  readonly sharing: Sharing
  readonly keys: string[] = []
  members: Member[] = []
  /** What was delivered and not settled by its holder, in the order of delivery. */
  held: HeldMessage[] = []
  readonly acked = new Set<number>()
  /** Acknowledged, and not stored yet for all that is known. */
  recent = new Set<number>()
  /** Acknowledged shortly before a crash: they may come again, or not. */
  readonly doubtful = new Set<number>()
  readonly deliveries = new Map<number, number>()
  /** What its sinks found wrong: thrown there, it would only end them. */
  readonly wrong: unknown[] = []
  #acking = -1

  constructor(bench: QueueBench, sharing: Sharing) {
    this.bench = bench
    this.sharing = sharing
  }

  async join(credit: number): Promise<void> {
    const member: Member = { sink: new QueueSink(), granted: credit, given: 0 }
    member.sink.onDeliver = (batch) => {
      try {
        this.#given(member, batch)
      } catch (error) {
        this.wrong.push(error)
      }
    }
    this.members.push(member)
    const config = {
      sharing: this.sharing,
      retriesMax: -1,
      ackTimeoutMs: 3_000,
      retry: { kind: 'fixed', delayMs: 50 },
    } as const
    await this.bench.join({ config, credit: { messages: credit } }, member.sink)
  }

  async do(one: Step): Promise<void> {
    const { bench } = this
    switch (one.do) {
      case 'publish':
        this.keys.push(...one.keys)
        await bench.publishKeys(...one.keys)
        break
      case 'join':
        if (this.members.length < 4) await this.join(one.credit)
        break
      case 'grant': {
        const member = this.members[one.pick % Math.max(1, this.members.length)]
        if (member === undefined) break
        member.granted += one.credit
        member.sink.subscription.grant({ messages: one.credit })
        break
      }
      case 'leave': {
        const [member] = this.members.splice(one.pick % Math.max(1, this.members.length), 1)
        if (member === undefined) break
        this.held = this.held.filter((message) => message.member !== member)
        await member.sink.subscription.close()
        break
      }
      case 'pass':
        await bench.pass(one.ms)
        if (one.ms >= 100) this.recent.clear()
        break
      case 'crash':
      case 'restart':
        await bench[one.do]()
        if (one.do === 'crash') {
          for (const offset of this.recent) {
            this.acked.delete(offset)
            this.doubtful.add(offset)
          }
        }
        this.recent.clear()
        this.members = []
        this.held = []
        break
      default:
        await this.#settle(one.do, one.pick)
    }
    await bench.pass(0)
    if (this.wrong.length > 0) throw this.wrong[0]
  }

  /** Takes everything that is left, and sees that there is nothing more. */
  async finish(): Promise<void> {
    await this.join(1_000)
    for (let round = 0; round < 20; round++) {
      for (const message of this.held.splice(0)) await this.#settleOne('ack', message)
      for (const member of this.members) {
        member.granted += 100
        member.sink.subscription.grant({ messages: 100 })
      }
      await this.bench.pass(1_000)
    }
    if (this.wrong.length > 0) throw this.wrong[0]
    const done = new Set([...this.acked, ...this.doubtful])
    expect([...done].toSorted((a, b) => a - b)).toEqual(this.keys.map((_, offset) => offset))
    expect(await this.bench.describe()).toMatchObject({ lag: 0 })
  }

  async #settle(action: 'ack' | 'nack' | 'release' | 'extend', pick: number): Promise<void> {
    const message = this.held[pick % Math.max(1, this.held.length)]
    if (message === undefined) return
    if (action !== 'extend') this.held.splice(this.held.indexOf(message), 1)
    await this.#settleOne(action, message)
  }

  async #settleOne(
    action: 'ack' | 'nack' | 'release' | 'extend',
    { member, batch, offset }: HeldMessage,
  ): Promise<void> {
    const { partition, lease } = batch
    if (action === 'ack') this.#acking = offset // the next message of its key may come before the answer
    const [result] = await member.sink.subscription.settle([
      { partition, lease, from: offset, to: offset + 1, action },
    ])
    this.#acking = -1
    if (result !== undefined || action !== 'ack') return
    if (!this.acked.has(offset)) this.recent.add(offset)
    this.acked.add(offset)
  }

  #mayBeDone(offset: number): boolean {
    return this.acked.has(offset) || this.doubtful.has(offset)
  }

  #given(member: Member, batch: LeasedBatch): void {
    member.given += batch.recordCount
    expect(member.given).toBeLessThanOrEqual(member.granted)
    expect(batch.redelivered || batch.attempt === 1).toBe(true)
    for (const offset of offsetsOf(batch)) {
      expect(this.acked.has(offset), `${offset} was acknowledged`).toBe(false)
      this.deliveries.set(offset, (this.deliveries.get(offset) ?? 0) + 1)
      expect(batch.attempt).toBeLessThanOrEqual(this.deliveries.get(offset) ?? 0)
      const key = this.keys[offset]
      if (this.sharing !== 'shared' && key !== '') {
        const earlier = this.keys.findIndex(
          (other, at) => at < offset && other === key && !this.#mayBeDone(at) && at !== this.#acking,
        )
        const holder = this.held.findLast((one) => one.offset === earlier)?.member
        // Earlier messages of the key are done, or in the same hands.
        if (earlier !== -1 && !offsetsOf(batch).includes(earlier))
          expect(holder === member, `${earlier} before ${offset}`).toBe(true)
      }
      this.held = this.held.filter((one) => one.offset !== offset)
      this.held.push({ member, batch, offset })
    }
  }
}

describe.each(['shared', 'partitioned', 'keyShared'] as const)('a %s group', (sharing) => {
  it('keeps its promises over random histories', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
        const bench = await QueueBench.start()
        const history = new History(bench, sharing)
        await history.join(3)
        for (const one of steps) await history.do(one)
        await history.finish()
        await bench.bench.broker.stop()
      }),
      { numRuns: rounds(60, 25) },
    )
  })
})

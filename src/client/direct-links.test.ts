/** A client of a broker of several workers: when it turns to the owner of a partition, and what that must not change. */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { type ConnectOptions, clientOver } from './connect-with.ts'
import { FakeBroker } from './testing/fake-broker.ts'
import { error } from './testing/producing.ts'
import { batchOf, numbers } from './testing/subscribing.ts'
import { testPlatform } from './testing/test-platform.ts'

/** A broker of workers that links reach as `reached` says, the last one again and again, and a client whose link is the first. */
async function setup(reached: readonly number[], options: ConnectOptions = {}) {
  const clock = new ManualClock()
  const broker = new FakeBroker()
  const workers = 3
  let turn = 0
  const run = { broker: 'one', opened: () => turn }
  broker.nextPlace = () => ({
    broker: run.broker,
    worker: reached[Math.min(turn++, reached.length - 1)],
    workers,
  })
  broker.workerOf = (partition) => partition % workers
  broker.topic('orders', workers)
  const client = await broker.client(testPlatform(clock), options)
  /** Publishes one after the other, each as a batch of its own. */
  const publish = async (count: number, partition = 1): Promise<void> => {
    for (let i = 0; i < count; i++) await client.publish('orders', `${partition}:${i}`, { partition })
  }
  /** The workers that batches came to since this was last asked. */
  const used = (): (number | undefined)[] => broker.publishes.splice(0).map(({ worker }) => worker)
  return { clock, broker, client, run, publish, used }
}

describe('the owner of a partition', () => {
  it('is turned to directly when there is much for it, and everything else goes on over the connection', async () => {
    const { clock, broker, publish, used } = await setup([0, 2, 0, 1])
    await publish(60)
    expect(new Set(used())).toEqual(new Set([0]))
    await clock.advance(100)
    await publish(10, 1)
    await publish(1, 0)
    await publish(1, 2)
    expect(used()).toEqual([...new Array(10).fill(1), 0, 0])
    expect(broker.links.size).toBe(2)
    const expected = [
      ...Array.from({ length: 60 }, (_, i) => `1:${i}`),
      ...Array.from({ length: 10 }, (_, i) => `1:${i}`),
    ]
    expect(broker.texts('orders', 1)).toEqual(expected)
  })

  it('is not turned to for little', async () => {
    const { clock, broker, publish, used } = await setup([0, 1])
    for (let second = 0; second < 5; second++) {
      await publish(40)
      await clock.advance(1_001)
    }
    expect(new Set(used())).toEqual(new Set([0]))
    expect(broker.opened).toBe(1)
  })

  it('is turned to at once for many bytes', async () => {
    const { clock, client, used } = await setup([0, 1])
    const big = 'x'.repeat(600_000)
    for (let i = 0; i < 2; i++) await client.publish('orders', big, { partition: 1 })
    await clock.advance(100)
    await client.publish('orders', big, { partition: 1 })
    expect(used()).toEqual([0, 0, 1])
  })

  it('is turned to only when nothing is under way to it', async () => {
    const { clock, broker, client, publish, used } = await setup([0, 1])
    await publish(60)
    used()
    broker.holding = true
    const first = client.publish('orders', 'first', { partition: 1 })
    await clock.advance(100)
    const second = client.publish('orders', 'second', { partition: 1 })
    await clock.advance(1)
    expect(used()).toEqual([0]) // the link is there, and the first has no answer yet
    broker.holding = false
    broker.release()
    await Promise.all([first, second])
    expect(used()).toEqual([1])
    expect(broker.texts('orders', 1).slice(-2)).toEqual(['first', 'second'])
  })

  it('is not turned to before a batch that was given up has arrived for sure', async () => {
    const { clock, broker, client, publish, used } = await setup([0, 1])
    const producer = client.producer({ idempotent: false })
    await publish(60)
    used()
    broker.holding = true
    const lost = producer.publish('orders', 'lost', { partition: 1, timeoutMs: 100 })
    const outcome = expect(lost).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    await clock.advance(100)
    await outcome
    broker.holding = false
    await producer.publish('orders', 'a', { partition: 1 })
    await producer.publish('orders', 'b', { partition: 1 })
    expect(used()).toEqual([0, 0, 1])
  })

  it('is sent nothing under a lease together with what is under none, since that goes another way inside', async () => {
    const { broker, client, clock } = await setup([0])
    const lease = { topic: 'orders', group: 'g', partition: 0, offset: 0, lease: 1 }
    await client.publish('orders', 'a', { partition: 1 })
    broker.publishes.length = 0
    broker.holding = true
    const sent = [
      client.publish('orders', 'b', { partition: 1 }),
      client.publish('orders', 'c', { partition: 1, lease }),
    ]
    await clock.advance(10)
    expect(broker.publishes).toHaveLength(1)
    broker.holding = false
    broker.release()
    await Promise.all(sent)
    expect(broker.texts('orders', 1)).toEqual(['a', 'b', 'c'])
  })

  it('is not turned to for what is under a lease', async () => {
    const { clock, client, publish, used } = await setup([0, 1])
    await publish(60)
    await clock.advance(100)
    used()
    const lease = { topic: 'orders', group: 'g', partition: 0, offset: 0, lease: 1 }
    await client.publish('orders', 'a', { partition: 1, lease })
    await client.publish('orders', 'b', { partition: 1 })
    expect(used()).toEqual([0, 1])
  })
})

describe('a direct link', () => {
  it('that is lost leaves everything to the connection: nothing is lost, stored twice or out of order', async () => {
    const { clock, broker, client, publish, used } = await setup([0, 1, 0])
    await publish(60)
    await clock.advance(100)
    used()
    broker.holding = true
    const sent = ['a', 'b', 'c'].map((text) => client.publish('orders', text, { partition: 1 }))
    await clock.advance(0)
    const [, direct] = [...broker.links]
    broker.holding = false
    direct.cut()
    sent.push(client.publish('orders', 'd', { partition: 1 }))
    await clock.advance(2_000)
    await Promise.all(sent)
    expect(broker.texts('orders', 1).slice(60)).toEqual(['a', 'b', 'c', 'd'])
    expect(used()[0]).toBe(1)
    await publish(1)
    expect(used()).toEqual([0])
    expect(client).toBeDefined()
  })

  it('is sought where the connection is, of several addresses', async () => {
    const clock = new ManualClock()
    const broker = new FakeBroker()
    broker.topic('orders')
    broker.workerOf = () => 1
    const opened: number[] = []
    const open = async (_: AbortSignal, attempt: number) => {
      broker.nextPlace = () => ({ broker: 'one', worker: opened.length < 4 ? 0 : 1, workers: 2 })
      opened.push(attempt)
      if (attempt === 0) throw error('RTK_DISCONNECTED')
      return broker.open()
    }
    const client = await clientOver(open, 2, {}, testPlatform(clock))
    for (let i = 0; i < 60; i++) await client.publish('orders', 'x')
    await clock.advance(500)
    expect(opened).toEqual([0, 1, 1, 1])
    await client.close()
  })

  it('is sought a bounded number of times, then again after a pause', async () => {
    const { clock, broker, publish, used } = await setup([0])
    await publish(60)
    await clock.advance(480)
    expect(broker.opened).toBe(1 + 24)
    expect(broker.links.size).toBe(1)
    await publish(60)
    await clock.advance(100)
    expect(broker.opened).toBe(25)
    await clock.advance(1_000)
    await publish(60)
    await clock.advance(1_000)
    expect(broker.opened).toBe(49)
    expect(new Set(used())).toEqual(new Set([0]))
  })

  it('is not sought on when links are refused', async () => {
    const { clock, broker, publish, used } = await setup([0, 1])
    broker.openFailures = 1
    broker.openError = () => error('RTK_LIMIT_EXCEEDED')
    await publish(60)
    await clock.advance(900)
    expect(broker.opened).toBe(2)
    expect(new Set(used())).toEqual(new Set([0]))
  })

  it('is closed when nobody uses it any more, and sought again when there is much again', async () => {
    const { clock, broker, publish, used } = await setup([0, 1])
    await publish(60)
    await clock.advance(100)
    await publish(1)
    expect(broker.links.size).toBe(2)
    await clock.advance(60_000)
    expect(broker.links.size).toBe(1)
    used()
    await publish(60)
    await clock.advance(100)
    await publish(1)
    expect(used().at(-1)).toBe(1)
  })

  it('is not kept of another broker that answers at the same address', async () => {
    const { clock, broker, run, publish, used } = await setup([0, 1])
    run.broker = 'another'
    await publish(60)
    await clock.advance(900)
    expect(broker.opened).toBe(2)
    expect(broker.links.size).toBe(1)
    await publish(1)
    expect(new Set(used())).toEqual(new Set([0]))
  })

  it('is used no more once the connection has reached another run of the broker', async () => {
    const { clock, broker, run, publish, used } = await setup([0, 1, 0])
    await publish(60)
    await clock.advance(100)
    await publish(1)
    expect(used().at(-1)).toBe(1)
    run.broker = 'another'
    const [entry] = broker.links
    entry.cut()
    await clock.advance(1_000)
    await publish(1)
    expect(used()).toEqual([0])
    await clock.advance(60_000)
    expect(broker.links.size).toBe(1)
  })

  it('ends with the client', async () => {
    const { clock, broker, client, publish } = await setup([0, 1])
    await publish(60)
    await clock.advance(100)
    await publish(1)
    await client.close()
    expect(broker.links.size).toBe(0)
    expect(clock.pending).toBe(0)
  })
})

describe('a subscription without a group', () => {
  /** Reads a partition of worker 1 over a connection that has reached worker 0. */
  async function reading(reached: readonly number[]) {
    const rig = await setup(reached)
    const seen: string[] = []
    const told: string[] = []
    const subscription = await rig.client.subscribe('orders', (message) => void seen.push(message.text()), {
      partitions: [1],
      onAssigned: () => void told.push('assigned'),
      onDisconnect: () => void told.push('lost'),
      onReconnect: () => void told.push('back'),
      onGap: () => void told.push('gap'),
    })
    let stored = 0
    const store = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        rig.broker.store('orders', 1, batchOf(`${stored++}`))
        await rig.clock.advance(0)
      }
    }
    /** The workers at which subscriptions are. */
    const at = () => [...rig.broker.subscriptions].map(({ link }) => link.place?.worker)
    return { ...rig, subscription, seen, told, store, at, all: () => numbers(0, stored) }
  }

  it('goes over to the worker that owns what is read, without a gap, a duplicate or a word', async () => {
    const { clock, broker, subscription, seen, told, store, at, all } = await reading([0, 2, 1])
    await store(60)
    expect(at()).toEqual([0])
    await clock.advance(100)
    await store(30)
    expect(at()).toEqual([1])
    expect(seen).toEqual(all())
    expect(told).toEqual(['assigned'])
    await clock.advance(90_000)
    expect(broker.links.size).toBe(2) // it is in use, though nothing comes
    await subscription.close()
    expect(at()).toEqual([])
    await clock.advance(90_000)
    expect(broker.links.size).toBe(1)
  })

  it('comes back to the connection when the link to the owner is lost', async () => {
    const { clock, broker, seen, told, store, at, all } = await reading([0, 1, 0])
    await store(60)
    await clock.advance(100)
    await store(10)
    const [, direct] = [...broker.links]
    direct.cut()
    await store(10)
    await clock.advance(1_000)
    expect(at()).toEqual([0])
    expect(seen).toEqual(all())
    expect(told).toEqual(['assigned', 'lost', 'back'])
  })

  it('goes on over the connection when the owner does not let it in', async () => {
    const { clock, broker, seen, store, at, all } = await reading([0, 1, 0])
    await store(60)
    await clock.advance(100)
    const [, direct] = [...broker.links]
    let asked = 0
    direct.subscribe = async () => {
      asked++
      throw error('RTK_LIMIT_EXCEEDED')
    }
    await store(5)
    await clock.advance(1_000)
    await store(5)
    expect(asked).toBe(1)
    direct.cut()
    await store(5)
    await clock.advance(1_000)
    expect(at()).toEqual([0])
    expect(seen).toEqual(all())
  })

  it('stays where it is when it reads partitions of several workers', async () => {
    const { clock, broker, client } = await setup([0, 1])
    await client.subscribe('orders', () => {}, { from: 'earliest' })
    for (let i = 0; i < 120; i++) broker.store('orders', i % 3, batchOf('x'))
    await clock.advance(1_000)
    expect(broker.opened).toBe(1)
  })

  it('that is closed while it goes over leaves nothing behind', async () => {
    const { clock, broker, subscription, store, at } = await reading([0, 1])
    await store(60)
    await clock.advance(100)
    broker.store('orders', 1, batchOf('last'))
    await subscription.close()
    await clock.advance(1_000)
    expect(at()).toEqual([])
  })
})

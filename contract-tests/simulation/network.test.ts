/** The simulated network: what it does to messages, and that it does the same again. */
import { createBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { connect } from 'ratatoskr/client'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../manual-clock.ts'
import { testPlatform } from '../test-platform.ts'
import { simulatedNetwork } from './network.ts'
import { ProcessClock } from './process-clock.ts'

/** A broker and a client with the network between them, and time that passes as long as something is waited for. */
async function stage(seed: number) {
  const clock = new ManualClock()
  const events: string[] = []
  const network = simulatedNetwork({
    clock,
    seed,
    onEvent: (text) => events.push(`${clock.monotonic()} ${text}`),
  })
  const brokerClock = new ProcessClock(clock)
  const broker = await createBroker({
    storage: memoryStorage(),
    platform: { ...testPlatform(seed), clock: brokerClock },
  })
  await broker.start()
  network.attach(broker.facade)
  const inTime = async <T>(promise: Promise<T>): Promise<T> => {
    let done = false
    const mark = (): void => {
      done = true
    }
    promise.then(mark, mark)
    for (let i = 0; i < 10_000 && !done; i++) await clock.advance(10)
    return promise
  }
  const clientClock = new ProcessClock(clock)
  const end = network.end('one')
  const client = await inTime(
    connect('sim://broker', {
      openLink: end.openLink,
      platform: { ...testPlatform(seed + 1), clock: clientClock },
    }),
  )
  return { clock, network, broker, brokerClock, client, clientClock, end, events, inTime }
}

/** Publishes a hundred messages while the network is at its worst. @returns what was stored, in order */
async function published(seed: number) {
  const { clock, network, client, events, inTime, broker } = await stage(seed)
  await inTime(client.createTopic('orders'))
  network.faults = { loseCall: 0.1, loseAnswer: 0.1, repeat: 0.2, disconnect: 0.05, slow: 0.1 }
  const producer = client.producer({ timeoutMs: 600_000 })
  const publishes: Promise<unknown>[] = []
  for (let n = 0; n < 100; n++) {
    publishes.push(producer.publish('orders', `${n}`))
    await clock.advance(20)
  }
  await inTime(Promise.all(publishes))
  network.faults = {}
  const stored = (await inTime(client.fetch('orders', { max: 1_000 }))).map(({ payload }) =>
    Number(Buffer.from(payload).toString()),
  )
  await inTime(client.close())
  await inTime(broker.stop())
  return { stored, events }
}

describe('a simulated network', () => {
  it('loses, repeats and delays, and an idempotent producer stores each message once, in order', async () => {
    const { stored, events } = await published(3)
    expect(stored).toEqual(Array.from({ length: 100 }, (_, n) => n))
    for (const fate of ['is lost', 'its answer will be lost', 'arrives again', 'link lost', 'slow']) {
      expect(
        events.some((event) => event.includes(fate)),
        fate,
      ).toBe(true)
    }
  })

  it('does the same for the same seed, and something else for another', async () => {
    const [first, again, other] = [await published(5), await published(5), await published(6)]
    expect(again.events).toEqual(first.events)
    expect(other.events).not.toEqual(first.events)
  })

  it('lets a client that is cut off come back, and nothing of one that is gone', async () => {
    const { client, clientClock, end, inTime, clock, broker } = await stage(1)
    await inTime(client.createTopic('orders'))
    end.isolate()
    const waiting = client.topicExists('orders', { timeoutMs: 60_000 })
    await clock.advance(5_000)
    end.rejoin()
    expect(await inTime(waiting)).toBe(true)
    const got: string[] = []
    await inTime(client.subscribe('orders', (message) => void got.push(message.text()), { from: 'earliest' }))
    clientClock.kill()
    end.vanish()
    await broker.publish('orders', 'hazel')
    await clock.advance(10_000)
    expect(got).toEqual([])
    expect(broker.stats().sessions).toBe(1)
    await inTime(broker.stop())
  })

  it('tells of a broker that is gone, and finds the next', async () => {
    const { network, brokerClock, client, inTime, clock } = await stage(1)
    await inTime(client.createTopic('orders'))
    brokerClock.kill()
    network.detach()
    const waiting = client.listTopics({ timeoutMs: 60_000 })
    await clock.advance(3_000)
    const next = await createBroker({
      storage: memoryStorage(),
      platform: { ...testPlatform(), clock: new ProcessClock(clock) },
    })
    await next.start()
    network.attach(next.facade)
    expect(await inTime(waiting)).toEqual([])
    await inTime(client.close())
    await inTime(next.stop())
  })
})

describe('the clock of a process', () => {
  it('runs what fell due while the process stood still at the end of that, and nothing once it is killed', async () => {
    const clock = new ManualClock()
    const process = new ProcessClock(clock)
    const ran: string[] = []
    process.after(10, () => ran.push(`a ${clock.monotonic()}`))
    process.after(20, () => ran.push(`b ${clock.monotonic()}`))
    process.after(20, () => ran.push('never'))[Symbol.dispose]()
    process.after(200, () => ran.push('killed'))
    process.stall(100)
    await clock.advance(150)
    expect(ran).toEqual(['a 100', 'b 100'])
    process.kill()
    process.after(1, () => ran.push('after'))
    await clock.advance(100)
    expect(ran).toHaveLength(2)
    expect(process.killed).toBe(true)
  })
})

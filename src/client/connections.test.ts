/** Several connections of one client, over every link that has one: who is on which, and what the loss of one touches. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../ports/index.ts'
import type { Client } from './client.ts'
import { connect } from './connect.ts'
import type { ConnectOptions } from './connect-with.ts'
import type { Link, OpenLink } from './link.ts'
import { openGrpcLink } from './links/grpc.ts'
import { openHttpLink } from './links/http.ts'
import { openTcpLink } from './links/tcp.ts'
import { openWebSocketLink } from './links/websocket-node.ts'
import type { Subscription } from './subscription.ts'
import { links, numbers, startBroker } from './testing/every-link.ts'

const openers: Readonly<Record<string, OpenLink>> = {
  gRPC: openGrpcLink,
  WebSocket: openWebSocketLink,
  HTTP: openHttpLink,
  TCP: openTcpLink,
}

/** A link that was opened, and what went over it. */
interface Seen {
  readonly link: Link
  readonly calls: string[]
  readonly cut: () => void
  readonly ended: () => boolean
}

/** Links of the kind, in the order in which they were opened. */
function watched(open: OpenLink) {
  const seen: Seen[] = []
  const openLink: OpenLink = async (url, options) => {
    const inner = await open(url, options)
    const calls: string[] = []
    const lost = Promise.withResolvers<RatatoskrError | undefined>()
    let isEnded = false
    void inner.closed.then((reason) => {
      isEnded = true
      lost.resolve(reason)
    })
    const link = new Proxy(inner, {
      get(target, name: keyof Link) {
        if (name === 'closed') return lost.promise
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          calls.push(name)
          return value.apply(target, args)
        }
      },
    })
    seen.push({
      link,
      calls,
      cut: () => {
        void inner.close().catch(() => {})
        lost.resolve(new RatatoskrError('RTK_DISCONNECTED', 'the test cut the link'))
      },
      ended: () => isEnded,
    })
    return link
  }
  return { seen, openLink }
}

const count = (seen: readonly Seen[], name: string): number[] =>
  seen.map(({ calls }) => calls.filter((call) => call === name).length)

describe.each(links.slice(1))('a client of three connections over %s', (name, { transports }) => {
  async function started(options: ConnectOptions = {}) {
    const broker = await startBroker(transports())
    await broker.createTopic('orders', { partitions: 3 })
    const { seen, openLink } = watched(openers[name])
    const client: Client = await connect(broker.addresses[0].url, {
      platform: broker.platform,
      connections: 3,
      openLink,
      reconnect: { baseMs: 5, maxMs: 20 },
      ...options,
    })
    return { broker, client, seen, openLink }
  }

  it('spreads subscriptions and producers over them, and each stays on one', async () => {
    const { broker, client, seen } = await started()
    /** Over which of them the calls of that name went that `run` made. */
    const placesOf = async (call: string, run: () => Promise<unknown>): Promise<number[]> => {
      const before = count(seen, call)
      await run()
      return count(seen, call).flatMap((now, place) => (now > before[place] ? [place] : []))
    }
    const subscriptions: Subscription[] = []
    const subscribed = (): Promise<number[]> =>
      placesOf('subscribe', async () => subscriptions.push(await client.subscribe('orders', () => {})))
    const of: number[][] = []
    for (let i = 0; i < 3; i++) of.push(await subscribed())
    expect(of.flat().toSorted()).toEqual([0, 1, 2])

    const producers = numbers(3).map(() => client.producer())
    const published: number[][] = []
    for (const [partition, producer] of producers.entries()) {
      const all = () => Promise.all(numbers(5).map((text) => producer.publish('orders', text, { partition })))
      published.push(await placesOf('publishBatch', async () => [await all(), await all()]))
    }
    expect(published.flat().toSorted()).toEqual([0, 1, 2])

    // Who comes takes the place of who has gone.
    for (const gone of [1, 0, 2]) {
      await subscriptions[gone].close()
      expect(await subscribed()).toEqual(of[gone])
    }
    expect(seen).toHaveLength(3)
    await client.close()
    expect(seen.map(({ ended }) => ended())).toEqual([true, true, true])
    await broker.stop()
  })

  it('the loss of one touches what is on it, which goes on; the others notice nothing', async () => {
    const { broker, client, seen } = await started()
    const all = Promise.withResolvers<void>()
    const got = numbers(3).map(() => numbers(3).map((): string[] => []))
    const told: string[] = []
    let missing = 3 * 3 * 200
    await Promise.all(
      got.map((own, subscriber) =>
        client.subscribe(
          'orders',
          (message) => {
            own[message.partition].push(message.text())
            if (--missing === 0) all.resolve()
          },
          {
            onDisconnect: () => told.push(`${subscriber} lost`),
            onReconnect: () => told.push(`${subscriber} back`),
            onGap: (gap) => expect.unreachable(`${gap}`),
          },
        ),
      ),
    )
    const producers = numbers(3).map(() => client.producer())
    const publishes: Promise<unknown>[] = []
    for (let i = 0; i < 200; i++) {
      for (const [partition, producer] of producers.entries()) {
        publishes.push(producer.publish('orders', `${i}`, { partition }))
      }
      if (i % 20 === 0) await Promise.all(publishes)
      if (i === 100) seen[1].cut()
    }
    await Promise.all(publishes)
    await all.promise
    expect(got).toEqual(numbers(3).map(() => numbers(3).map(() => numbers(200))))
    expect(told).toHaveLength(2)
    expect(told[0].replace('lost', 'back')).toBe(told[1])
    // One link more, in the place of the lost one.
    expect(seen.map(({ ended }) => ended())).toEqual([false, true, false, false])
    expect(count(seen, 'subscribe')).toEqual([1, 1, 1, 1])
    await client.close()
    await broker.stop()
  })

  it('ends when one of them is given up, and says why', async () => {
    const { broker, client, seen } = await started({ reconnect: false })
    seen[2].cut()
    expect(await client.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
    await client.close()
    expect(seen.map(({ ended }) => ended())).toEqual([true, true, true])
    await expect(client.listTopics()).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await broker.stop()
  })

  it('is not made when one of them cannot be opened: the others are closed again', async () => {
    const broker = await startBroker(transports())
    const { seen, openLink } = watched(openers[name])
    let attempts = 0
    const third: OpenLink = (url, options) => {
      if (++attempts < 3) return openLink(url, options)
      throw new RatatoskrError('RTK_UNAVAILABLE', 'the test lets nobody in')
    }
    await expect(
      connect(broker.addresses[0].url, { platform: broker.platform, connections: 3, openLink: third }),
    ).rejects.toMatchObject({ code: 'RTK_UNAVAILABLE' })
    expect(seen.map(({ ended }) => ended())).toEqual([true, true])
    await broker.stop()
  })
})

it.each([0, -1, 1.5, Number.NaN, 1_001, '3'])('refuses %s connections', async (connections) => {
  await expect(connect('tcp://127.0.0.1:1', { connections: connections as number })).rejects.toMatchObject({
    code: 'RTK_INVALID_ARGUMENT',
    message: expect.stringMatching(/^connections must/),
  })
})

/** Every link that has a connection, when that breaks. */
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { connect } from './connect.ts'
import { links, numbers, startBroker } from './testing/every-link.ts'

/** A relay that can cut every connection that runs through it, as a broken network does. */
async function relayTo(url: string) {
  const { hostname, port } = new URL(url)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const upstream = createConnection({ host: hostname, port: Number(port) })
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ]) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const own = new URL(url)
  own.port = `${(server.address() as AddressInfo).port}`
  return {
    url: own.href,
    cut: () => {
      for (const socket of sockets) socket.destroy()
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

describe.each(links.slice(1))('a client over %s whose connection breaks', (_name, { transports }) => {
  it('gets every message once and in order without a group', async () => {
    await throughCuts(undefined, (seen) => expect(seen).toEqual([numbers(300), numbers(300)]))
  })

  it('gets every message of a group; what comes twice says so', async () => {
    await throughCuts('billing', (seen, again) => {
      for (const own of seen) {
        const first = own.filter((text, i) => own.indexOf(text) === i)
        expect(first.toSorted((a, b) => Number(a) - Number(b))).toEqual(numbers(300))
      }
      expect(seen.flat().length - 600).toBeLessThanOrEqual(again)
    })
  })

  async function throughCuts(
    group: string | undefined,
    check: (seen: readonly string[][], again: number) => void,
  ): Promise<void> {
    const broker = await startBroker(transports())
    await broker.createTopic('orders', { partitions: 2 })
    const relay = await relayTo(broker.addresses[0].url)
    const client = await connect(relay.url, {
      platform: broker.platform,
      reconnect: { baseMs: 5, maxMs: 20 },
    })
    const seen: string[][] = [[], []]
    const all = Promise.withResolvers<void>()
    let disconnects = 0
    let again = 0
    const distinct = new Set<string>()
    const subscription = await client.subscribe(
      'orders',
      (message) => {
        seen[message.partition].push(message.text())
        if (message.redelivered) again++
        if (distinct.add(`${message.partition}/${message.text()}`).size >= 600) all.resolve()
      },
      {
        group,
        onDisconnect: () => disconnects++,
        onGap: (gap) => expect.unreachable(`${gap}`),
      },
    )
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 100; i++) {
        await broker.publish('orders', `${round * 50 + Math.floor(i / 2)}`, { partition: i % 2 })
      }
      if (round < 5) relay.cut()
    }
    await all.promise
    check(seen, again)
    expect(disconnects).toBeGreaterThan(0)
    expect((await client.publish('orders', 'still works')).durability).toBe('memory')
    await subscription.close()
    await client.close()
    relay.close()
    await broker.stop()
  }
})

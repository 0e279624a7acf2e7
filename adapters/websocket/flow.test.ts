import { ManualClock } from 'ratatoskr/contract-tests'
import type { BrokerFacade, Session } from 'ratatoskr/ports'
import { describe, expect, it, onTestFinished } from 'vitest'
import { webSocketTransport } from './index.ts'
import { bareHandshake, type JsonFrame, RawClient } from './testing/raw-client.ts'
import { startRig } from './testing/rig.ts'

describe('a slow reader', () => {
  it('holds a bounded part of a backlog, keeps nobody waiting, and gets everything when it reads again', async () => {
    const { client, broker } = await startRig()
    const count = 40
    const payload = Buffer.alloc(1024 * 1024, 7)
    await broker.createTopic('orders')
    const subscribe = {
      op: 'subscribe',
      id: 50,
      topic: 'orders',
      from: 'earliest',
      credit: { messages: 1_000 },
    }
    const [slow, quick] = [await client(), await client()]
    slow.say(subscribe)
    quick.say(subscribe)
    await slow.takeEvent('assigned')
    slow.ws.pause()
    for (let n = 0; n < count; n++) await broker.publish('orders', payload)
    for (let n = 0; n < count; n++) await quick.takeEvent('message')
    expect(broker.stats().messagesDelivered).toBeLessThan(2 * count)
    slow.ws.resume()
    for (let n = 0; n < count; n++) {
      const { message } = (await slow.takeEvent('message')) as { message: JsonFrame }
      expect(message.offset).toBe(n)
      expect((message.payload as string).length).toBe(Math.ceil(payload.length / 3) * 4)
    }
  })

  it('of replies is not read from, until it reads', async () => {
    const { broker } = await startRig()
    for (let n = 0; n < 40; n++) await broker.createTopic(`topic-${n}`)
    let asked = 0
    const counting: BrokerFacade = {
      ...facadeOf(broker.facade),
      async connect(peer, credentials) {
        const session = await broker.facade.connect(peer, credentials)
        return new Proxy(session, {
          get(target, name: keyof Session) {
            if (name === 'listTopics') asked++
            const value = target[name]
            return typeof value === 'function' ? value.bind(target) : value
          },
        })
      },
    }
    const transport = webSocketTransport({ port: 0, outboundBytesMax: 64 * 1024 })
    const { url } = await transport.start(counting, { failed: () => {} })
    onTestFinished(() => transport.stop(100))
    const raw = await RawClient.open(url)
    await raw.ask('ping')
    raw.ws.pause()
    const count = 4_000
    for (let n = 0; n < count; n++) raw.say({ op: 'listTopics', id: 1_000 + n })
    const other = await RawClient.open(url)
    let before = -1
    for (let rounds = 0; before !== asked && rounds < 1_000; rounds++) {
      before = asked
      for (let n = 0; n < 20; n++) await other.ask('ping')
    }
    expect(asked).toBeLessThan(count)
    raw.ws.resume()
    for (let n = 0; n < count; n++) expect(await raw.take()).toMatchObject({ id: 1_000 + n })
    expect(asked).toBe(count)
  })
})

const facadeOf = (facade: BrokerFacade): Omit<BrokerFacade, 'connect'> => ({
  limits: facade.limits,
  platform: facade.platform,
  authenticator: facade.authenticator,
  health: () => facade.health(),
})

describe('time', () => {
  it('cuts a connection that gives no sign of life, and keeps one that does', async () => {
    const clock = new ManualClock()
    const { client } = await startRig({ platform: { clock }, transport: { pingIntervalMs: 1_000 } })
    const [dead, alive] = [await client(undefined, { autoPong: false } as object), await client()]
    for (const raw of [dead, alive]) await raw.ask('ping')
    for (let n = 0; n < 2; n++) {
      const pinged = new Promise((resolve) => alive.ws.once('ping', resolve))
      await clock.advance(1_000)
      if (n === 0) await pinged
    }
    expect((await dead.closed).code).toBe(1006)
    expect(await alive.ask('ping')).toEqual({})
  })

  it('ends a connection whose first frame does not come', async () => {
    const clock = new ManualClock()
    const { client } = await startRig({ platform: { clock }, transport: { handshakeTimeoutMs: 500 } })
    const [silent, quick] = [await client(), await client()]
    await quick.ask('ping')
    await clock.advance(500)
    expect(await silent.takeEvent('error')).toMatchObject({ error: { code: 'RTK_TIMEOUT' } })
    expect((await silent.closed).code).toBe(1008)
    expect(await quick.ask('ping')).toEqual({})
  })
})

describe('stopping', () => {
  it('ends subscriptions with the reason, answers what waits, refuses what is new, and says goodbye', async () => {
    const { client, transport, url } = await startRig()
    const raw = await client()
    const idle = await client()
    await raw.ask('createTopic', { topic: 'orders' })
    raw.say({ op: 'subscribe', id: 50, topic: 'orders', credit: { messages: 5 } })
    await raw.takeEvent('assigned')
    raw.say({ op: 'fetch', id: 51, topic: 'orders', partition: 0, offset: 0, waitMs: 60_000 })
    await raw.ask('ping')
    const stopped = transport.stop(5_000)
    raw.say({ op: 'createTopic', id: 52, topic: 'late' })
    expect(await raw.takeEvent('ended')).toMatchObject({
      subscription: 50,
      error: { code: 'RTK_UNAVAILABLE' },
    })
    expect(await raw.take((frame) => frame.id === 51)).toMatchObject({ error: { code: 'RTK_UNAVAILABLE' } })
    expect(await raw.closed).toEqual({ code: 1001, reason: 'RTK_UNAVAILABLE' })
    expect((await idle.closed).code).toBe(1001)
    await stopped
    await expect(RawClient.open(url)).rejects.toThrow()
  })

  it('lets a call in flight finish', async () => {
    const { broker } = await startRig()
    const gate = Promise.withResolvers<void>()
    const slow: BrokerFacade = {
      ...facadeOf(broker.facade),
      async connect(peer, credentials) {
        const session = await broker.facade.connect(peer, credentials)
        return new Proxy(session, {
          get(target, name: keyof Session) {
            const value = target[name]
            if (name === 'listTopics') return () => gate.promise.then(() => target.listTopics())
            return typeof value === 'function' ? value.bind(target) : value
          },
        })
      },
    }
    const transport = webSocketTransport({ port: 0 })
    const { url } = await transport.start(slow, { failed: () => {} })
    const raw = await RawClient.open(url)
    await raw.ask('ping')
    raw.say({ op: 'listTopics', id: 9 })
    raw.say({ op: 'ping', id: 10 })
    await raw.take((frame) => frame.id === 10)
    const stopped = transport.stop(5_000)
    raw.say({ op: 'ping', id: 11 })
    expect(await raw.take()).toMatchObject({ id: 11, error: { code: 'RTK_UNAVAILABLE' } })
    gate.resolve()
    expect(await raw.take()).toEqual({ id: 9, ok: { topics: [] } })
    expect((await raw.closed).code).toBe(1001)
    await stopped
  })

  it('cuts who does not answer, at the deadline', async () => {
    const clock = new ManualClock()
    const { transport, port } = await startRig({ platform: { clock } })
    const { socket } = await bareHandshake(port)
    const cut = new Promise((resolve) => socket.once('close', resolve))
    socket.resume()
    let done = false
    const stopped = transport.stop(700).then(() => {
      done = true
    })
    await clock.advance(699)
    expect(done).toBe(false)
    await clock.advance(1)
    await stopped
    await cut
  })
})

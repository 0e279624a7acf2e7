import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ManualClock } from 'ratatoskr/contract-tests'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { WebSocketServer } from 'ws'
import { startRig } from '../../../adapters/websocket/testing/rig.ts'
import {
  binarySubprotocol,
  compressionOf,
  encodeProduced,
  joinFrame,
  RatatoskrError,
} from '../../ports/index.ts'
import { batchOf, Kept, openLink, platform, rigWithOrders, text } from './testing/link-kit.ts'
import { openWebSocketLink as openGlobal } from './websocket.ts'
import { openWebSocketLink as openNode } from './websocket-node.ts'
import { wireLinkOpener } from './wire-link.ts'
import type { WireSocketEvents } from './wire-socket.ts'

describe('what the platform lacks', () => {
  it('batches come uncompressed to a platform without codecs, with the same messages', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const bare = await openLink(openGlobal, url, { platform: { ...platform, compression: new Map() } })
    const texts = Array.from({ length: 50 }, (_, n) => `message ${n} ${'z'.repeat(200)}`)
    await link.publishBatch('orders', 0, batchOf(texts, 1))
    await link.publishBatch('orders', 0, batchOf(['plain']))
    await link.publishBatch('orders', 0, batchOf(texts, 4))
    const [compressed, expanded] = [new Kept(), new Kept()]
    await link.subscribe('orders', { from: 'earliest', credit: { bytes: 100_000 } }, compressed)
    await bare.subscribe('orders', { from: 'earliest', credit: { bytes: 100_000 } }, expanded)
    await Promise.all([compressed.count(101), expanded.count(101)])
    expect(compressionOf(compressed.deliveries[0].bytes)).toBe(1)
    expect(expanded.deliveries.every(({ bytes }) => compressionOf(bytes) === 0)).toBe(true)
    expect(expanded.messages.map((m) => [m.offset, text(m)])).toEqual(
      compressed.messages.map((m) => [m.offset, text(m)]),
    )
  })

  it('credit for expanded batches pays for what the broker counted', async () => {
    const { url, broker } = await rigWithOrders()
    const bare = await openLink(openGlobal, url, { platform: { ...platform, compression: new Map() } })
    const texts = Array.from({ length: 100 }, () => 'z'.repeat(500))
    const stored = batchOf(texts, 1).length
    for (let n = 0; n < 3; n++) await bare.publishBatch('orders', 0, batchOf(texts, 1))
    const sink = new Kept()
    const subscription = await bare.subscribe('orders', { from: 'earliest', credit: { bytes: stored } }, sink)
    await sink.count(100)
    // Giving back what it got lets one more batch of the same size through, not as many as the expanded bytes would.
    subscription.grant({ bytes: sink.deliveries[0].bytes.length })
    await sink.count(200)
    await bare.brokerStats()
    expect(broker.stats().messagesDelivered).toBe(200)
  })
})

describe('a sink', () => {
  it('that is full gets nothing more, keeps nobody waiting, and then goes on in order', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const gate = Promise.withResolvers<void>()
    const full = new Kept()
    const { deliver } = full
    full.deliver = (delivery) => {
      void deliver.call(full, delivery)
      return full.deliveries.length === 1 ? gate.promise : undefined
    }
    const quick = new Kept()
    const credit = { bytes: 10_000 }
    await link.subscribe('orders', { credit }, full)
    await link.subscribe('orders', { credit }, quick)
    for (const payload of ['a', 'b', 'c']) await link.publishBatch('orders', 0, batchOf([payload]))
    await quick.count(3)
    expect(full.events).toEqual(['assigned 0:0', 'a'])
    gate.resolve()
    await full.count(3)
    expect(full.events).toEqual(['assigned 0:0', 'a', 'b', 'c'])
  })

  it.each([
    [
      'throws',
      () => {
        throw new RatatoskrError('RTK_OVERLOADED', 'no')
      },
    ],
    ['rejects', () => Promise.reject(new RatatoskrError('RTK_OVERLOADED', 'no'))],
  ])('that %s ends its subscription, here and at the broker', async (_, deliver) => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const sink = new Kept()
    sink.deliver = deliver
    await link.subscribe('orders', { credit: { bytes: 1_000 } }, sink)
    await link.publishBatch('orders', 0, batchOf(['a']))
    expect(await sink.end.promise).toMatchObject({ code: 'RTK_OVERLOADED' })
    await vi.waitFor(async () => {
      expect(await link.topicStats('orders')).toMatchObject({ subscriberCount: 0 })
    })
    expect(sink.events).toEqual(['assigned 0:0', 'ended RTK_OVERLOADED'])
  })

  it('that closes its subscription while it is called hears of nothing more', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const sink = new Kept()
    const { deliver } = sink
    sink.deliver = async (delivery) => {
      await deliver.call(sink, delivery)
      await subscription.close()
    }
    const subscription = await link.subscribe('orders', { credit: { bytes: 1_000 } }, sink)
    for (const payload of ['a', 'b']) await link.publishBatch('orders', 0, batchOf([payload]))
    expect(await sink.end.promise).toBeUndefined()
    expect(sink.events).toEqual(['assigned 0:0', 'a', 'ended undefined'])
  })

  it('that throws when it is told the end harms nobody', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const sink = new Kept()
    sink.ended = () => {
      throw new Error('unwilling')
    }
    const other = new Kept()
    await link.subscribe('orders', {}, sink)
    await link.subscribe('orders', {}, other)
    await link.close()
    expect(await other.end.promise).toBeUndefined()
  })
})

/** A link on a socket in this process, whose other end the test plays. */
async function linkOnDouble(clock = new ManualClock()) {
  const sent: (string | Uint8Array)[] = []
  let events: WireSocketEvents | undefined
  let closes = 0
  const open = wireLinkOpener(async (_url, options) => {
    events = options.events
    return {
      sendText(frame) {
        sent.push(frame)
        const { op, id } = JSON.parse(frame)
        if (op === 'hello') queueMicrotask(() => events?.text(JSON.stringify({ id, ok: {} })))
      },
      sendBinary: (head, body = new Uint8Array(0)) => void sent.push(joinFrame(head, body)),
      close: () => void closes++,
    }
  })
  const link = await open(new URL('double://here'), {
    credentials: { kind: 'none' },
    platform: { ...platform, clock },
    frameBytesMax: 1_000,
  })
  const said = (op: string) =>
    sent.filter((frame) => typeof frame === 'string' && JSON.parse(frame).op === op)
  return { link, clock, sent, said, events: events as unknown as WireSocketEvents, closes: () => closes }
}

describe('a broker', () => {
  it('that gives no sign of life is taken for lost', async () => {
    const { link, clock, said, events } = await linkOnDouble()
    await clock.advance(20_000)
    expect(said('ping')).toHaveLength(1)
    events.text('{"id":2,"ok":{}}')
    await clock.advance(20_000)
    expect(said('ping')).toHaveLength(2)
    await clock.advance(20_000)
    expect(await link.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect(clock.pending).toBe(0)
  })

  it.each<[string, (events: WireSocketEvents) => void]>([
    ['text that is no JSON', (events) => events.text('{')],
    ['JSON that is no object', (events) => events.text('null')],
    ['a malformed binary frame', (events) => events.binary(new Uint8Array(5))],
  ])('that sends %s is given up', async (_, send) => {
    const { link, events, closes } = await linkOnDouble()
    const waiting = link.listTopics()
    send(events)
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect((await link.closed)?.message).toContain('cannot be read')
    expect(closes()).toBe(1)
    send(events)
  })

  it('that says why it closes is quoted', async () => {
    const { link, events } = await linkOnDouble()
    events.text(
      JSON.stringify({ event: 'error', error: { code: 'RTK_FRAME_MALFORMED', message: 'too deep' } }),
    )
    events.closed('closed with code 1007')
    const reason = await link.closed
    expect(reason).toMatchObject({ code: 'RTK_DISCONNECTED', cause: { code: 'RTK_FRAME_MALFORMED' } })
    expect(reason?.message).toContain('too deep')
  })

  it('that answers nobody, or nothing known, changes nothing', async () => {
    const { link, events } = await linkOnDouble()
    const waiting = link.listTopics()
    events.text('{"id":99,"ok":{}}')
    events.text('{"event":"assigned","subscription":99,"partitions":[]}')
    events.text('{"event":"ended","subscription":99}')
    events.text('{"event":"news"}')
    events.binary(encodeProduced(99, { partition: 0, baseOffset: 0, recordCount: 1, durability: 'os' }))
    events.text('{"id":2,"ok":{"topics":[]}}')
    expect(await waiting).toEqual([])
  })

  it('that does not close is not waited for without end', async () => {
    const { link, clock } = await linkOnDouble()
    const closing = link.close()
    await clock.advance(2_000)
    await closing
    expect(clock.pending).toBe(0)
  })

  it('that refuses the handshake is quoted; what is no broker is named', async () => {
    const rig = await startRig({ limits: { sessionsMax: 1 } })
    await rig.client()
    await expect(openLink(openNode, rig.url)).rejects.toMatchObject({ code: 'RTK_LIMIT_EXCEEDED' })
    const server = createServer()
    server.on('upgrade', (_request, socket) =>
      socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno'),
    )
    server.listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const refused = openLink(openNode, `ws://127.0.0.1:${port}`)
    await expect(refused).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await expect(refused).rejects.toThrow('HTTP status 404')
  })

  it('that sends a frame above the bound is left', async () => {
    const server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      handleProtocols: () => binarySubprotocol,
    })
    onTestFinished(() => void server.close())
    server.on('connection', (ws) => {
      ws.once('message', (data) => {
        ws.send(JSON.stringify({ id: JSON.parse(data.toString()).id, ok: {} }))
        ws.send(new Uint8Array(2_000))
      })
      ws.on('error', () => {})
    })
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const link = await openNode(new URL(`ws://127.0.0.1:${port}`), {
      credentials: { kind: 'none' },
      platform,
      frameBytesMax: 1_000,
    })
    expect(await link.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
  })
})

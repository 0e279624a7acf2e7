import { ManualClock } from 'ratatoskr/contract-tests'
import { decodeFrame } from 'ratatoskr/ports'
import { describe, expect, it, onTestFinished } from 'vitest'
import { batchOf } from './testing/batches.ts'
import { type Rig, type RigOptions, startRig, text } from './testing/rig.ts'

const accept = 'application/vnd.ratatoskr.frames'
const path = '/v1/topics/orders/subscribe?from=earliest'

async function rigWithOrders(options?: RigOptions): Promise<Rig> {
  const rig = await startRig(options)
  await rig.broker.createTopic('orders', { partitions: 1 })
  return rig
}

/** Opens the stream and gives its frames one by one, the empty ones too. */
async function open({ url }: Rig, query = path) {
  const abort = new AbortController()
  onTestFinished(() => abort.abort())
  const response = await fetch(url + query, {
    headers: { accept: `${accept}, */*;q=0.1` },
    signal: abort.signal,
  })
  const chunks = (response.body as ReadableStream<Uint8Array>).getReader()
  let rest = Buffer.alloc(0)
  const next = async (): Promise<Buffer | undefined> => {
    while (rest.length < 4 || rest.length < 4 + rest.readUInt32BE(0)) {
      const { done, value } = await chunks.read()
      if (done) return undefined
      rest = Buffer.concat([rest, value])
    }
    const frame = rest.subarray(4, 4 + rest.readUInt32BE(0))
    rest = rest.subarray(4 + frame.length)
    return frame
  }
  const event = async () => JSON.parse(text((await next()) ?? 'null'))
  return { response, next, event, leave: () => abort.abort() }
}

describe('frames', () => {
  it('begin with the subscription and its partitions, then carry batches as they are stored', async () => {
    const rig = await rigWithOrders()
    const batch = batchOf(['a', 'b', 'c'])
    await rig.call('POST', '/v1/topics/orders/messages?partition=0', batch, {
      'content-type': 'application/vnd.ratatoskr.batch',
    })
    const stream = await open(rig, '/v1/topics/orders/subscribe?from=1&group=g&member=anna')
    expect(stream.response.headers.get('content-type')).toBe(accept)
    expect(await stream.event()).toEqual({
      event: 'subscribed',
      subscription: expect.any(String),
      member: 'anna',
    })
    expect(await stream.event()).toEqual({ event: 'assigned', partitions: [{ partition: 0, offset: 1 }] })
    const delivery = decodeFrame((await stream.next()) ?? new Uint8Array(0))
    expect(delivery).toMatchObject({ kind: 'deliver', partition: 0, fromOffset: 1, nextOffset: 3 })
    const stored = await rig.call('GET', '/v1/topics/orders/messages', undefined, {
      accept: 'application/vnd.ratatoskr.batch',
    })
    expect(delivery.kind === 'deliver' && text(delivery.bytes)).toBe(stored.text)
  })

  it('are empty when there is nothing to say', async () => {
    const clock = new ManualClock()
    const rig = await rigWithOrders({ platform: { clock }, transport: { heartbeatMs: 1_000 } })
    const before = clock.pending
    const stream = await open(rig)
    await stream.event()
    await stream.event()
    const during = clock.pending
    for (let i = 0; i < 15; i++) {
      await clock.advance(1_000)
      expect(await stream.next()).toHaveLength(0)
    }
    expect(clock.pending).toBe(during)
    stream.leave()
    await expect.poll(() => clock.pending).toBe(before)
  })

  it('stand still for a reader who does not read', async () => {
    const rig = await rigWithOrders()
    const payload = Buffer.alloc(500_000, 'x')
    const count = 80
    for (let i = 0; i < count; i++) await rig.broker.publish('orders', payload)
    const reader = await rig.socket()
    reader.pause()
    reader.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\naccept: ${accept}\r\n\r\n`)
    await expect.poll(() => rig.broker.stats().messagesDelivered).toBeGreaterThan(0)
    await rig.call('GET', '/livez')
    expect(rig.broker.stats().messagesDelivered).toBeLessThan(count / 2)
    let bytes = 0
    reader.on('data', (chunk) => {
      bytes += chunk.length
    })
    reader.resume()
    await expect.poll(() => bytes, { timeout: 10_000 }).toBeGreaterThan(count * payload.length)
  })

  it('tell why they end', async () => {
    const rig = await rigWithOrders()
    const stream = await open(rig)
    const { subscription } = await stream.event()
    await stream.event()
    const other = await open(rig)
    await other.event()
    await other.event()
    expect((await rig.call('DELETE', `/v1/topics/orders/subscriptions/${subscription}`)).status).toBe(204)
    expect(await stream.event()).toEqual({ event: 'ended' })
    expect(await stream.next()).toBeUndefined()
    const stopping = rig.transport.stop(5_000)
    expect(await other.event()).toMatchObject({ event: 'ended', error: { code: 'RTK_UNAVAILABLE' } })
    expect(await other.next()).toBeUndefined()
    await stopping
  })
})

import { once } from 'node:events'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { createBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import type { BrokerFacade, Transport, TransportSupervision } from 'ratatoskr/ports'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tls } from '../grpc/testing/tls.ts'
import { httpTransport } from './index.ts'
import { startRig } from './testing/rig.ts'

const supervision: TransportSupervision = {
  failed(error) {
    throw error
  },
}

/** The facade that a broker gives its transports. */
async function facade(): Promise<BrokerFacade> {
  const got = Promise.withResolvers<BrokerFacade>()
  const spy: Transport = {
    name: 'spy',
    supports: httpTransport().supports,
    address: undefined,
    async start(broker) {
      got.resolve(broker)
      return { host: '', port: 0, url: '' }
    },
    async stop() {},
  }
  const broker = await createBroker({
    storage: memoryStorage(),
    transports: [spy],
    platform: nodePlatform({ logger: silentLogger }),
  })
  await broker.start()
  onTestFinished(() => broker.stop())
  return got.promise
}

describe('starting', () => {
  it('listens on ::1 and on localhost', async () => {
    for (const host of ['::1', 'localhost']) {
      const { url } = await startRig({ transport: { host } })
      expect(url).toMatch(host === '::1' ? /^http:\/\/\[::1\]:\d+$/ : /^http:\/\/localhost:\d+$/)
      expect((await fetch(`${url}/livez`)).status).toBe(200)
    }
  })

  it('speaks TLS, and tells the broker that it does', async () => {
    const { url } = await startRig({ transport: { tls } })
    expect(url).toMatch(/^https:/)
    const status = await new Promise((resolve, reject) => {
      request(`${url}/v1/session`, { ca: tls.cert, agent: false }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
        .on('error', reject)
        .end()
    })
    expect(status).toBe(200)
  })

  it('refuses a port that is taken, and starts once it is free', async () => {
    const broker = await facade()
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as { port: number }
    const transport = httpTransport({ port })
    await expect(transport.start(broker, supervision)).rejects.toMatchObject({ code: 'RTK_ADDRESS_IN_USE' })
    expect(transport.address).toBeUndefined()
    other.close()
    await once(other, 'close')
    const { url } = await transport.start(broker, supervision)
    expect((await fetch(`${url}/livez`)).status).toBe(200)
    await transport.stop(1_000)
  })

  it('refuses hosts that are not its own', async () => {
    const transport = httpTransport({ host: '192.0.2.1', insecure: true, port: 0 })
    await expect(transport.start(await facade(), supervision)).rejects.toMatchObject({
      code: 'RTK_CONFIG_INVALID',
    })
  })

  it('starts once, however often it is asked', async () => {
    const broker = await facade()
    const transport = httpTransport({ port: 0 })
    const [first, second] = await Promise.all([
      transport.start(broker, supervision),
      transport.start(broker, supervision),
    ])
    expect(first).toBe(second)
    await transport.stop(1_000)
  })

  it('makes no warning of its framework', async () => {
    const warnings: Error[] = []
    const warned = (warning: Error) => warnings.push(warning)
    process.on('warning', warned)
    onTestFinished(() => void process.off('warning', warned))
    const { call } = await startRig()
    await call('GET', '/openapi.json')
    await new Promise(setImmediate)
    expect(warnings).toEqual([])
  })
})

describe('stopping', () => {
  it('in the middle of a start leaves nothing behind', async () => {
    const broker = await facade()
    const transport = httpTransport({ port: 0 })
    const starting = transport.start(broker, supervision)
    const stopped = transport.stop(1_000)
    await expect(starting).rejects.toMatchObject({ code: 'RTK_UNAVAILABLE' })
    await stopped
    expect(transport.address).toBeUndefined()
    const { url } = await transport.start(broker, supervision)
    expect((await fetch(`${url}/livez`)).status).toBe(200)
    await transport.stop(1_000)
    await expect(fetch(`${url}/livez`)).rejects.toThrow()
  })

  it('does not wait for connections that are idle or silent', async () => {
    const rig = await startRig()
    const silent = await rig.socket()
    const idle = await rig.socket()
    idle.write('GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await once(idle, 'data')
    const closed = Promise.all([once(silent, 'close'), once(idle, 'close')])
    await rig.transport.stop(60_000)
    await closed
  })

  it('answers who waits for messages, and finishes what is being published', async () => {
    const rig = await startRig()
    await rig.broker.createTopic('orders')
    const waiting = rig.call('GET', '/v1/topics/orders/messages?waitMs=50000')
    const polling = rig.call('POST', '/v1/topics/orders/groups/g/fetch', { waitMs: 50_000 })
    await expect.poll(async () => (await rig.broker.listGroups('orders')).length).toBe(1)
    const sender = await rig.socket()
    sender.write('POST /v1/topics/orders/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nh')
    await rig.call('GET', '/livez')
    const stopped = rig.transport.stop(60_000)
    for (const answer of await Promise.all([waiting, polling])) {
      expect([answer.status, answer.json.code]).toEqual([503, 'RTK_UNAVAILABLE'])
      expect(answer.headers.get('retry-after')).toBe('1')
    }
    sender.write('i')
    const [data] = await once(sender, 'data')
    expect(String(data)).toMatch(/^HTTP\/1.1 200 .*connection: close.*"offset":0/is)
    await stopped
  })

  it('cuts what is left at the deadline', async () => {
    const rig = await startRig()
    const sender = await rig.socket()
    sender.write('POST /v1/topics/orders/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nh')
    await rig.call('GET', '/livez')
    const closed = once(
      sender.on('error', () => undefined),
      'close',
    )
    await rig.transport.stop(50)
    await closed
  })

  it('shares one stop among those who ask', async () => {
    const rig = await startRig()
    await Promise.all([rig.transport.stop(1_000), rig.transport.stop(1_000)])
    await rig.transport.stop(1_000)
    expect(rig.transport.address).toBeUndefined()
    await expect(fetch(`${rig.url}/livez`)).rejects.toThrow()
  })
})

import type { BrokerFacade, Health } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { httpTransport } from './index.ts'
import { startRig } from './testing/rig.ts'

/** A transport that sees the broker's health as the test says. */
function transportSeeing(health: () => Health) {
  const transport = httpTransport({ port: 0 })
  const start = transport.start.bind(transport)
  transport.start = (broker, supervision) => {
    const seen: BrokerFacade = Object.create(broker, { health: { value: health } })
    return start(seen, supervision)
  }
  return transport
}

describe('health', () => {
  it('is told to load balancers and to people', async () => {
    const { call, broker } = await startRig()
    await broker.createTopic('orders')
    expect((await call('GET', '/livez')).json).toEqual({ status: 'ok' })
    const ready = await call('GET', '/readyz')
    expect([ready.status, ready.json]).toEqual([200, { status: 'ok' }])
    const health = await call('GET', '/healthz')
    expect([health.status, health.json]).toEqual([
      200,
      { status: 'ok', ready: true, uptimeMs: expect.any(Number), components: expect.any(Array) },
    ])
    const session = await call('GET', '/v1/session')
    expect(session.json).toMatchObject({ namespace: 'default', limits: { batchBytesMax: 16 * 1024 * 1024 } })
    await call('POST', '/v1/topics/orders/messages', 'x')
    expect((await call('GET', '/v1/stats')).json).toMatchObject({ topics: 1, messagesPublished: 1 })
  })

  it.each(['starting', 'stopping'] as const)(
    'is 503 while the broker is %s, but it lives',
    async (status) => {
      const components = [
        { name: 'storage', status: 'failed', restarts: 2, lastError: 'RTK_STORE_FAILED' },
      ] as const
      const transport = transportSeeing(() => ({ status, ready: false, uptimeMs: 1, components }))
      await startRig({ broker: { transports: [transport] } })
      const get = async (path: string) => {
        const response = await fetch(`${transport.address?.url}${path}`)
        return [response.status, await response.json()]
      }
      expect(await get('/livez')).toEqual([200, { status: 'ok' }])
      expect(await get('/readyz')).toEqual([503, { status }])
      expect(await get('/healthz')).toEqual([503, { status, ready: false, uptimeMs: 1, components }])
    },
  )
})

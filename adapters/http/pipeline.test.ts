/** Requests that a client sends without waiting for answers. */
import { once } from 'node:events'
import type { Authenticator } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { startRig } from './testing/rig.ts'

const lines = (first: string, headers = ''): string =>
  `${first} HTTP/1.1\r\nhost: localhost\r\n${headers}\r\n`
const longPoll = (waitMs: number): string => lines(`GET /v1/topics/orders/messages?waitMs=${waitMs}`)
const publish = (more = ''): string =>
  `${lines('POST /v1/topics/orders/messages', `${more}content-length: 1\r\n`)}x`

const anybody: Authenticator = {
  requiresCredentials: false,
  authenticate: async () => ({ name: 'anybody', namespace: 'default' }),
}

describe('pipelined requests', () => {
  it('are handled one after the other, and answered in order', async () => {
    const { broker, raw } = await startRig()
    await broker.createTopic('orders')
    const answers = await raw(longPoll(300) + publish() + longPoll(0) + publish('connection: close\r\n'))
    const [empty, first, found, second] = answers.split(/(?=HTTP\/1\.1 )/)
    // The wait of the first is over before the second is stored.
    expect(empty).toContain('"messages":[]')
    expect(first).toContain('"offset":0')
    expect(found).toContain('"offset":0')
    expect(second).toContain('"offset":1')
  })

  it('do nothing any more when their connection ends before their turn', async () => {
    const { broker, socket, call } = await startRig()
    await broker.createTopic('orders')
    const opened = await socket()
    opened.write(longPoll(60_000) + publish() + publish())
    for (let i = 0; i < 3; i++) expect((await call('GET', '/livez')).status).toBe(200)
    opened.destroy()
    await once(opened, 'close')
    for (let i = 0; i < 3; i++) expect((await call('GET', '/livez')).status).toBe(200)
    expect((await broker.offsets('orders', 'latest'))[0].offset).toBe(0)
  })

  it('wait for the answers that nobody reads', async () => {
    let reads = 0
    const allows = (action: string): boolean => {
      if (action === 'topic:consume') reads++
      return true
    }
    const authorizer = { grants: async () => ({ allows }) }
    const { broker, socket, call } = await startRig({
      broker: { security: { authenticator: anybody, authorizer } },
    })
    await broker.createTopic('orders')
    await broker.publish('orders', new Uint8Array(700_000))
    const opened = await socket()
    opened.pause()
    const asked = 150
    opened.write(lines('GET /v1/topics/orders/messages?partition=0&offset=0').repeat(asked))
    await expect.poll(() => reads).toBeGreaterThan(1)
    for (let i = 0; i < 20; i++) await call('GET', '/livez')
    // What the buffers of both sockets take lets a few go on.
    expect(reads).toBeLessThan(asked / 4)
    opened.resume()
    await expect.poll(() => reads, { timeout: 20_000 }).toBe(asked)
  })
})

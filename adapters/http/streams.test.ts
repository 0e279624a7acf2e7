import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { RatatoskrError, Session, Subscription } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { Streams } from './streams.ts'

const session = (name: string, namespace = 'default') => ({ principal: { name, namespace } }) as Session

function stream(id: string) {
  let closed = 0
  const subscription = {
    id,
    topic: 'orders',
    async close() {
      closed++
    },
  } as unknown as Subscription
  const reasons: RatatoskrError[] = []
  const response = Object.assign(new EventEmitter(), { destroyed: false }) as unknown as ServerResponse
  return {
    subscription,
    response,
    reasons,
    end: (reason: RatatoskrError) => void reasons.push(reason),
    closes: () => closed,
  }
}

describe('Streams', () => {
  it('forgets a stream with its reader, also of one who left while he subscribed', () => {
    const streams = new Streams()
    const here = stream('a')
    streams.add(session('anna'), here.subscription, here.response, here)
    expect(streams.size).toBe(1)
    here.response.emit('close')
    expect([streams.size, here.closes()]).toEqual([0, 1])
    const gone = stream('b')
    Object.assign(gone.response, { destroyed: true })
    streams.add(session('anna'), gone.subscription, gone.response, gone)
    expect([streams.size, gone.closes()]).toEqual([0, 1])
  })

  it('closes for its owner only', async () => {
    const streams = new Streams()
    const { subscription, response, end, closes } = stream('a')
    streams.add(session('anna'), subscription, response, { end })
    expect(await streams.close(session('bert'), 'orders', 'a')).toBe(false)
    expect(await streams.close(session('anna', 'team'), 'default/orders', 'a')).toBe(false)
    expect(closes()).toBe(0)
    expect(await streams.close(session('anna'), 'default/orders', 'a')).toBe(true)
    expect(closes()).toBe(1)
  })

  it('ends those that are open, and those that come after', async () => {
    const streams = new Streams()
    const before = stream('a')
    streams.add(session('anna'), before.subscription, before.response, before)
    await streams.closeAll()
    const after = stream('b')
    streams.add(session('anna'), after.subscription, after.response, after)
    for (const { reasons, closes } of [before, after])
      expect([reasons.map(({ code }) => code), closes()]).toEqual([['RTK_UNAVAILABLE'], 1])
  })

  it('grants credit to its owner, where credit is what counts', () => {
    const streams = new Streams()
    const granted: object[] = []
    const [counted, flowing] = [stream('a'), stream('b')]
    const { subscription, response, end } = counted
    streams.add(session('anna'), subscription, response, { end, grant: (credit) => granted.push(credit) })
    streams.add(session('anna'), flowing.subscription, flowing.response, flowing)
    const grant = (name: string, id: string) => () => streams.grant(session(name), 'orders', id, { bytes: 5 })
    grant('anna', 'a')()
    expect(granted).toEqual([{ bytes: 5 }])
    expect(grant('bert', 'a')).toThrow(expect.objectContaining({ code: 'RTK_SUBSCRIPTION_NOT_FOUND' }))
    expect(grant('anna', 'b')).toThrow(expect.objectContaining({ code: 'RTK_NOT_SUPPORTED' }))
    expect(granted).toHaveLength(1)
  })
})

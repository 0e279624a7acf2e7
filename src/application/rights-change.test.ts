/** A right that is taken away counts from the next call on: nothing that the broker remembers allows more. */
import { describe, expect, it } from 'vitest'
import type { Action } from '../ports/index.ts'
import { BrokerBench, batchOf, codeOf, message } from './testing/broker-bench.ts'

const sink = { deliver() {}, ended() {} }

describe('a right that is taken away while its holder is connected', () => {
  it.each<[Action, (session: Awaited<ReturnType<BrokerBench['connect']>>) => unknown]>([
    ['topic:publish', (session) => session.publish('orders', message('x'))],
    ['topic:publish', (session) => session.publishBatch('orders', 0, batchOf(['x']))],
    ['topic:consume', (session) => session.fetch('orders', { partition: 0, offset: 0 })],
    ['topic:consume', (session) => session.subscribe('orders', {}, sink)],
    [
      'group:consume',
      (session) => session.commit('orders', { group: 'g', offsets: [{ partition: 0, offset: 0 }] }),
    ],
    ['topic:delete', (session) => session.deleteTopic('orders')],
    ['broker:describe', (session) => session.brokerStats()],
  ])('%s is refused from the next call on, however often it was allowed', async (action, call) => {
    const bench = new BrokerBench()
    const owner = await bench.start()
    const make = async () => void (await owner.createTopic('orders'))
    await make()
    const session = await bench.connect('alice')
    for (let i = 0; i < 3; i++) {
      expect(await codeOf(() => call(session))).toBeUndefined()
      await make()
    }
    bench.allows = (asked) => asked !== action
    expect(await codeOf(() => call(session))).toBe('RTK_PERMISSION_DENIED')
    expect(await owner.topicExists('orders')).toBe(true)
    bench.allows = () => true
    expect(await codeOf(() => call(session))).toBeUndefined()
  })
})

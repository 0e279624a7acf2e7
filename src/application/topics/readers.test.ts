/** Who reads the table of topics never waits for who changes it. */
import { expect, it } from 'vitest'
import { BrokerBench, message, settled } from '../testing/broker-bench.ts'

/** Whether a promise has settled by now, with all that was ready before. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let over = false
  void promise.finally(() => {
    over = true
  })
  await settled()
  return over
}

/** A broker with one topic, whose state store takes its time from now on. */
async function slowStore() {
  const bench = new BrokerBench()
  const session = await bench.start()
  await session.createTopic('orders')
  const stored = Promise.withResolvers<void>()
  bench.state.onChange = () => stored.promise
  return { bench, session, stored: stored.resolve }
}

it('reads go on while a topic is being made, of which nothing shows before it is stored', async () => {
  const { session, stored } = await slowStore()
  const creating = session.createTopic('second')
  await settled() // It has come as far as the store.
  const before = await session.listTopics()
  expect(before.map(({ name }) => name)).toEqual(['orders'])
  expect(await session.topicExists('second')).toBe(false)
  expect((await session.describeTopic('orders')).name).toBe('orders')
  expect((await session.publish('orders', message('x'))).offset).toBe(0)
  expect((await session.fetch('orders', { partition: 0, offset: 0 })).nextOffset).toBe(1)
  expect(await isSettled(creating)).toBe(false)
  stored()
  await creating
  expect((await session.listTopics()).map(({ name }) => name)).toEqual(['orders', 'second'])
  // What was given out before is of that moment.
  expect(before).toHaveLength(1)
})

it('publishes and reads go on, by the settings of before, while a topic is being altered', async () => {
  const { session, stored } = await slowStore()
  const before = await session.describeTopic('orders')
  const altering = session.alterTopic('orders', { messageBytesMax: 1 })
  await settled() // It has come as far as the store.
  expect((await session.publish('orders', message('longer than one byte'))).offset).toBe(0)
  expect((await session.describeTopic('orders')).config).toEqual(before.config)
  expect(await isSettled(altering)).toBe(false)
  stored()
  await altering
  await expect(session.publish('orders', message('longer than one byte'))).rejects.toMatchObject({
    code: 'RTK_MESSAGE_TOO_LARGE',
  })
  expect(before.config.messageBytesMax).toBeGreaterThan(1)
})

it('other topics can be read and written while one is being deleted', async () => {
  const { bench, session, stored } = await slowStore()
  bench.state.onChange = () => {}
  await session.createTopic('second')
  const gone = Promise.withResolvers<void>()
  bench.state.onChange = () => gone.promise
  const deleting = session.deleteTopic('second')
  await settled() // It has come as far as the store.
  expect((await session.publish('orders', message('x'))).offset).toBe(0)
  expect((await session.describeTopic('orders')).name).toBe('orders')
  expect(await isSettled(deleting)).toBe(false)
  gone.resolve()
  stored()
  await deleting
})

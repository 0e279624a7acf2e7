import { expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { BatchBuilder, portableCrc32c, RatatoskrError, utf8, utf8Text } from '../ports/index.ts'
import type { ClientBatch } from './batch-subscription.ts'
import { FakeBroker } from './testing/fake-broker.ts'
import { testPlatform } from './testing/test-platform.ts'

async function setup(partitions = 1) {
  const clock = new ManualClock()
  const broker = new FakeBroker()
  broker.topic('orders', partitions)
  const client = await broker.client(testPlatform(clock))
  return { clock, broker, client }
}

function batchOf(...texts: string[]): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs: 1 })
  return builder.build()
}

const textsOf = (batch: ClientBatch | undefined): string[] =>
  batch === undefined
    ? []
    : Array.from(batch.records(), (record) =>
        utf8Text(record.bytes.subarray(record.valueStart, record.valueEnd)),
      )

it('reads whole batches with one cursor, from the middle of a batch on', async () => {
  const { client, broker } = await setup()
  broker.store('orders', 0, batchOf('a', 'b', 'c'))
  broker.store('orders', 0, batchOf('d'))
  const seen: string[][] = []
  for await (const batch of await client.batches('orders', { from: { offset: 1 } })) {
    expect(batch).toMatchObject({ topic: 'orders', partition: 0 })
    seen.push(textsOf(batch))
    if (seen.length === 2) break
  }
  expect(seen).toEqual([['b', 'c'], ['d']])
  expect(broker.subscriptions.size).toBe(0)
})

it('acknowledges a batch when the next is asked for', async () => {
  const { client, broker } = await setup()
  broker.store('orders', 0, batchOf('a', 'b'))
  broker.store('orders', 0, batchOf('c'))
  const batches = await client.batches('orders', { group: 'g' })
  const iterator = batches[Symbol.asyncIterator]()
  await iterator.next()
  await batches.commit()
  expect(broker.commits).toEqual([])
  await iterator.next()
  await batches.commit()
  expect(broker.commits).toEqual([[{ partition: 0, offset: 2 }]])
  await batches.close()
  expect(broker.commits.length).toBe(1)
  expect(await iterator.next()).toEqual({ done: true, value: undefined })
})

it('with ack: manual commits contiguous batches only', async () => {
  const { client, broker } = await setup()
  for (const text of ['a', 'b', 'c']) broker.store('orders', 0, batchOf(text))
  const batches = await client.batches('orders', { group: 'g', ack: 'manual' })
  const iterator = batches[Symbol.asyncIterator]()
  const taken = [await iterator.next(), await iterator.next(), await iterator.next()].map(
    ({ value }) => value,
  )
  taken[1]?.ack()
  await batches.commit()
  expect(broker.commits).toEqual([])
  taken[0]?.ack()
  taken[0]?.ack()
  await batches[Symbol.asyncDispose]()
  expect(broker.commits).toEqual([[{ partition: 0, offset: 2 }]])
})

it('goes on after the loss of the connection, and drops what waits of a partition that is gone', async () => {
  const { client, broker, clock } = await setup(2)
  const events: string[] = []
  const batches = await client.batches('orders', {
    group: 'g',
    member: 'one',
    onAssigned: (list) => events.push(`+${list.map((one) => one.partition)}`),
    onRevoked: (list) => events.push(`-${list}`),
    onDisconnect: () => events.push('lost'),
    onReconnect: () => {
      events.push('again')
      throw new Error('a bug of the caller')
    },
  })
  broker.store('orders', 0, batchOf('a'))
  broker.store('orders', 1, batchOf('b'))
  broker.cut()
  await clock.advance(5_000)
  const other = await client.batches('orders', { group: 'g', member: 'two' })
  await clock.advance(0)
  const iterator = batches[Symbol.asyncIterator]()
  expect(textsOf((await iterator.next()).value)).toEqual(['a'])
  broker.store('orders', 0, batchOf('c'))
  expect(textsOf((await iterator.next()).value)).toEqual(['c'])
  expect(textsOf((await other[Symbol.asyncIterator]().next()).value)).toEqual(['b'])
  expect(events).toEqual(['+0', '+1', 'lost', 'again', '-1'])
})

it('ends with the reason when the topic is deleted, and reports commits that can never be made', async () => {
  const { client, broker, clock } = await setup()
  const errors: string[] = []
  const batches = await client.batches('orders', { group: 'g', onError: (error) => errors.push(error.code) })
  const iterator = batches[Symbol.asyncIterator]()
  broker.refuseCommit = () => new RatatoskrError('RTK_PERMISSION_DENIED', 'no')
  broker.store('orders', 0, batchOf('a'))
  await iterator.next()
  const next = iterator.next()
  await clock.advance(1_000)
  expect(errors).toEqual(['RTK_PERMISSION_DENIED'])
  broker.deleteTopic('orders')
  await expect(next).rejects.toMatchObject({ code: 'RTK_TOPIC_DELETED' })
  expect(await batches.closed).toMatchObject({ code: 'RTK_TOPIC_DELETED' })
})

it('holds the broker back while batches wait', async () => {
  const { client, broker, clock } = await setup()
  for (let i = 0; i < 50; i++) broker.store('orders', 0, batchOf('x'.repeat(1_000)))
  const batches = await client.batches('orders', { from: 'earliest', prefetchBytes: 5_000 })
  await clock.advance(0)
  const [held] = broker.subscriptions
  expect(held.positions.get(0)).toBeLessThan(7)
  const iterator = batches[Symbol.asyncIterator]()
  for (let i = 0; i < 50; i++) expect((await iterator.next()).value?.fromOffset).toBe(i)
})

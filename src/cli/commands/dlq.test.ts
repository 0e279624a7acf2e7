import type { EmbeddedBroker } from 'ratatoskr'
import { httpTransport } from 'ratatoskr/adapters/http'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runHere } from '../testing/run-here.ts'

let broker: EmbeddedBroker
beforeAll(async () => {
  broker = await startTestBroker({ transports: [httpTransport({ port: 0 })] })
  await broker.createTopic('orders')
  await broker.publish('orders', 'm0', { key: 'k', headers: { h: 'v' } })
  for (let n = 1; n < 4; n++) await broker.publish('orders', `m${n}`)
  await using client = await broker.client()
  const letters = async () => (await client.deadLetters('orders')).letters.length
  let n = 0
  const subscription = await client.subscribe(
    'orders',
    () => {
      throw new Error(`failure ${n++}`)
    },
    { group: 'g', retriesMax: 0, from: 'earliest' },
  )
  while ((await letters()) < 4) await new Promise((resolve) => setTimeout(resolve, 5))
  await subscription.close()
})
afterAll(() => broker.stop())

const run = (line: string) => runHere([...line.split(' '), '--url', broker.addresses[0].url])
const ok = async (line: string) => {
  const { code, stdout, stderr } = await run(line)
  expect([code, stderr.replace(/^redrive.*\n/gm, '')]).toEqual([0, ''])
  return stdout.toString()
}

describe('dlq', () => {
  it('lists dead letters, and shows one as it was', async () => {
    const table = (await ok('dlq list orders')).split('\n')
    expect(table[0]).toMatch(/^OFFSET +GROUP +REASON +ATTEMPTS +LAST +REDRIVES +SOURCE +ERROR/)
    expect(table[1]).toMatch(/^0 +g +retries +1 +\S+Z +0 +0:0 +Error: failure 0/)
    expect(table).toHaveLength(6)
    const rows = JSON.parse(await ok('dlq list orders --match 2 -o json'))
    expect(rows).toMatchObject([{ offset: 2, group: 'g', error: expect.stringContaining('failure 2') }])
    expect(JSON.parse(await ok('dlq list orders --group other -o json'))).toEqual([])
    expect(JSON.parse(await ok('dlq list orders --since 1h --max 2 -o json'))).toHaveLength(2)
    expect(JSON.parse(await ok('dlq list orders --until 1h -o json'))).toEqual([])
    expect(JSON.parse(await ok('dlq list orders -k k -o json'))).toHaveLength(1)
    const shown = await ok('dlq show orders 0:0')
    expect(shown).toMatch(/key +k\n(.*\n)*header h +v\npayload +m0\n/)
    expect(JSON.parse(await ok('dlq show orders 1 -o json'))).toMatchObject({ offset: 1, payload: 'bTE=' })
    expect((await run('dlq show orders 0:9')).code).not.toBe(0)
    expect((await run('dlq show orders 1:0')).code).not.toBe(0)
    expect((await run('dlq list orders --reason bored')).code).not.toBe(0)
    const missing = await run('dlq list nothing')
    expect([missing.code, missing.stderr]).toEqual([3, expect.stringContaining('RTK_TOPIC_NOT_FOUND')])
    expect((await run('dlq list orders --since soon')).stderr).toContain('a duration back from now')
  })

  it('redrives what is asked for, and only counts in a dry run', async () => {
    const request = 'dlq redrive orders --group g --match 1 -o json'
    const counts = { matched: 1, redriven: 1, refused: 0, skipped: 3, deadLetterTopic: 'orders.dlq' }
    const { redriven: wouldRedrive, ...others } = counts
    expect(JSON.parse(await ok(`${request} --dry-run`))).toEqual({ ...others, wouldRedrive })
    expect((await run('dlq redrive nothing')).stderr).toContain('RTK_TOPIC_NOT_FOUND')
    expect(JSON.parse(await ok(request))).toEqual(counts)
    expect(JSON.parse(await ok('dlq redrive orders --max 1 --rate 1000 -o json'))).toMatchObject({
      redriven: 1,
    })
    expect((await broker.topicStats('orders')).messageCount).toBe(6)
    expect(JSON.parse(await ok('dlq list orders -o json'))).toHaveLength(2)
  })

  it('purges only when it is told so twice', async () => {
    expect((await run('dlq purge orders')).code).not.toBe(0)
    expect(JSON.parse(await ok('dlq purge orders --yes -o json'))).toMatchObject({ purged: 2 })
    expect(JSON.parse(await ok('dlq list orders -o json'))).toEqual([])
  })
})

/** Messages that expire, through the whole broker on a disk: restarts, and the sweep that gives their room back. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { silentLogger } from 'ratatoskr/adapters/node'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { createBroker } from './create-broker.ts'
import type { EmbeddedBroker } from './embedded-broker.ts'

const minute = 60_000

let directory: string
let clock: ManualClock
let broker: EmbeddedBroker | undefined

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-expiry-'))
  clock = new ManualClock()
})

afterEach(async () => {
  await broker?.stop()
  await rm(directory, { recursive: true, force: true })
})

async function start(): Promise<EmbeddedBroker> {
  broker = await createBroker({
    storage: diskStorage({ directory }),
    platform: { clock, logger: silentLogger },
  })
  await broker.start()
  return broker
}

const textsIn = async (of: EmbeddedBroker): Promise<string[]> =>
  (await of.fetch('orders')).map(({ payload }) => Buffer.from(payload).toString())

describe('a message that expires', () => {
  it('still does after a restart, at the moment that it was given before', async () => {
    const before = await start()
    await before.publish('orders', 'a', { ttlMs: 10 * minute })
    await before.publish('orders', 'b')
    await before.publish('orders', 'c', { expiresAtMs: clock.now() + 20 * minute })
    await before.stop()
    await clock.advance(10 * minute - 1)
    const after = await start()
    expect(await textsIn(after)).toEqual(['a', 'b', 'c'])
    clock.jumpTo(clock.now() + 1)
    expect(await textsIn(after)).toEqual(['b', 'c'])
    clock.jumpTo(clock.now() + 10 * minute)
    expect(await textsIn(after)).toEqual(['b'])
    expect((await after.describeTopic('orders')).partitions[0]).toMatchObject({
      startOffset: 0,
      endOffset: 3,
    })
  })

  it('gives its room back at a sweep, long before the retention of its topic', async () => {
    const running = await start()
    await running.createTopic('orders', { retentionMs: -1, retentionBytes: -1, segmentBytes: 64 * 1024 })
    const payload = new Uint8Array(16 * 1024)
    for (let i = 0; i < 20; i++) await running.publish('orders', payload, { ttlMs: minute / 2 })
    await running.publish('orders', payload)
    const partition = async () => (await running.describeTopic('orders')).partitions[0]
    const { sizeBytes } = await partition()
    await clock.advance(minute)
    await vi.waitFor(async () => expect((await partition()).startOffset).toBeGreaterThanOrEqual(16))
    expect((await partition()).startOffset).toBeLessThanOrEqual(20)
    expect((await partition()).sizeBytes).toBeLessThan(sizeBytes / 3)
    expect((await running.fetch('orders')).map(({ offset }) => offset)).toEqual([20])
  })
})

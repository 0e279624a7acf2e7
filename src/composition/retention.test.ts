/** Retention on a real disk: what is let go of leaves the disk, and what is kept is read. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { type TopicConfig, utf8Text } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { afterEach, beforeEach, expect, it } from 'vitest'

let directory: string
let broker: EmbeddedBroker

const started = (): Promise<EmbeddedBroker> =>
  startTestBroker({ storage: diskStorage({ directory }), retentionIntervalMs: 10 })

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-retention-'))
  broker = await started()
})

afterEach(async () => {
  await broker.stop()
  await rm(directory, { recursive: true, force: true })
})

const everything = { retentionMs: -1, retentionBytes: -1, retentionMessages: -1 }

/** Forty messages, three to a segment. */
async function fill(config: Partial<TopicConfig>): Promise<void> {
  await broker.createTopic('orders', { ...everything, segmentBytes: 65_536, ...config })
  for (let i = 0; i < 40; i++) await broker.publish('orders', `${i}`.padEnd(20_000, ' '))
}

const segments = async (): Promise<number> =>
  (await readdir(join(directory, 'logs'), { recursive: true })).filter((name) => name.endsWith('.log')).length
const startOffset = async (): Promise<number> => (await broker.offsets('orders', 'earliest'))[0].offset

it('by count deletes the oldest segments, and keeps what was promised', async () => {
  await fill({ retentionMessages: 10 })
  await expect.poll(startOffset).toBe(30)
  await expect.poll(segments).toBeLessThan(6)
  const [first] = await broker.fetch('orders')
  expect([first.offset, utf8Text(first.payload).trim()]).toEqual([30, '30'])
})

it('of a work queue deletes what every group has committed, also after a restart', async () => {
  await fill({ retention: 'workqueue', retentionMessages: 1 })
  await broker.commit('orders', 'billing', [{ partition: 0, offset: 31 }])
  await broker.commit('orders', 'shipping', [{ partition: 0, offset: 16 }])
  await expect.poll(startOffset).toBe(15)
  await broker.stop()
  broker = await started()
  await broker.commit('orders', 'shipping', [{ partition: 0, offset: 40 }])
  await expect.poll(startOffset).toBe(30)
  await broker.alterTopic('orders', { retention: 'limits' })
  await expect.poll(startOffset).toBe(39)
  await expect.poll(segments).toBeLessThan(3)
})

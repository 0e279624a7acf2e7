/**
 * A broker on disk with two queue groups that do everything that such groups do, at a steady rate: leases, acknowledgements one by
 * one, retries, dead letters that are redriven, leases that run out, members that come and go.
 */
import { setTimeout } from 'node:timers/promises'
import { createBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { silentLogger } from 'ratatoskr/adapters/node'
import type { Client, ClientMessage } from 'ratatoskr/client'
import { serveRole } from '../harness/child.ts'
import { inFolder } from '../harness/folder.ts'
import { MemorySamples, type MemoryTrend } from '../harness/memory-samples.ts'

export interface QueueSoakLoad {
  readonly seconds: number
  readonly directory: string
  readonly perSecond: number
  readonly payloadBytes: number
}

export interface QueueSoakResult extends MemoryTrend {
  readonly handled: number
  readonly failed: number
  readonly redriven: number
  /** Messages that are not settled at the end: 0, or something was left lying. */
  readonly left: number
}

const topic = 'soak'
const groups = { work: 'shared', ordered: 'keyShared' } as const
const keys = 1_000
/** How often a second messages are published. */
const burstsPerSecond = 50
/** So often members change during a run. */
const changes = 30
const drainMs = 30_000
/** Small, so that all is full and turns over before half of the time is over. */
const settings = {
  retentionBytes: 64 * 1024 * 1024,
  segmentBytes: 4 * 1024 * 1024,
  queue: {
    ackTimeoutMs: 1_000,
    retriesMax: 1,
    retry: { kind: 'fixed', delayMs: 50 },
    deadLetterRetentionMs: 10_000,
  },
} as const

serveRole({
  soak: ({ directory, ...load }: QueueSoakLoad): Promise<QueueSoakResult> =>
    inFolder(directory, (path) => soak(path, load)),
})

async function soak(directory: string, load: Omit<QueueSoakLoad, 'directory'>): Promise<QueueSoakResult> {
  const broker = await createBroker({
    storage: diskStorage({ directory, hotBytesMax: 4 * 1024 * 1024 }),
    platform: { logger: silentLogger },
    retentionIntervalMs: 1_000, // so that files come and go all the time, and not once a minute
  })
  await broker.start()
  await broker.createTopic(topic, settings)
  const client = await broker.client()
  const counts = { handled: 0, failed: 0, redriven: 0 }
  const samples = new MemorySamples(load.seconds)
  const work = Object.entries(groups).map(([group, sharing]) =>
    members(client, { group, sharing, pauseMs: (load.seconds * 1_000) / changes }, samples, counts),
  )
  await Promise.all([publish(client, load, samples), redrive(client, samples, counts), ...work])
  const { trend } = samples
  const left = await lagOf(client)
  await client.close()
  await broker.stop()
  return { ...trend, ...counts, left }
}

interface Shift {
  readonly group: string
  readonly sharing: (typeof groups)[keyof typeof groups]
  /** Between two changes of members. */
  readonly pauseMs: number
}

type Counts = { handled: number; failed: number; redriven: number }

async function publish(
  client: Client,
  { perSecond, payloadBytes }: Omit<QueueSoakLoad, 'directory'>,
  samples: MemorySamples,
): Promise<void> {
  const payload = new Uint8Array(payloadBytes)
  let number = 0
  while (samples.isRunning) {
    const messages = Array.from({ length: Math.ceil(perSecond / burstsPerSecond) }, () => ({
      payload,
      key: `key ${number++ % keys}`,
    }))
    await Promise.all([client.publishMany(topic, messages), setTimeout(1_000 / burstsPerSecond)])
    await samples.sampleIfDue()
  }
}

/** Two members at a time; one of them goes and another comes. */
async function members(
  client: Client,
  { group, sharing, pauseMs }: Shift,
  samples: MemorySamples,
  counts: Counts,
): Promise<void> {
  let number = 0
  const handle = async (message: ClientMessage): Promise<void> => {
    const turn = number++ % 1_000
    if (turn === 1) await setTimeout(1_500, undefined, { signal: message.signal }).catch(() => {})
    if (turn < 20) {
      counts.failed++
      throw new Error('this one fails')
    }
    counts.handled++
  }
  const join = () => client.subscribe(topic, handle, { group, sharing, concurrency: 64 })
  let one = await join()
  let other = await join()
  while (samples.isRunning) {
    await setTimeout(pauseMs)
    await one.close()
    one = other
    other = await join()
  }
  const until = performance.now() + drainMs
  while ((await client.describeQueue(topic, group)).lag > 0 && performance.now() < until)
    await setTimeout(100)
  await Promise.all([one.close(), other.close()])
}

/** Dead letters go round: what failed too often stays until retention takes it. */
async function redrive(client: Client, samples: MemorySamples, counts: Counts): Promise<void> {
  while (samples.isRunning) {
    await setTimeout(500)
    if (samples.isRunning) counts.redriven += (await client.redriveDeadLetters(topic)).redriven
  }
}

async function lagOf(client: Client): Promise<number> {
  const lags = Object.keys(groups).map(async (group) => (await client.describeQueue(topic, group)).lag)
  return (await Promise.all(lags)).reduce((sum, lag) => sum + lag, 0)
}

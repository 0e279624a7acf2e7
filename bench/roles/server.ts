/** An embedded broker whose storage is measured: filled, stopped or killed, started again, kept busy. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createBroker, type EmbeddedBroker, type TopicConfig } from 'ratatoskr'
import { silentLogger } from 'ratatoskr/adapters/node'
import type { Durability, LogStoreCounters, Platform, Session, Storage, Stores } from 'ratatoskr/ports'
import { type Latency, latencyOf } from '../../src/cli/bench/messages.ts'
import { BatchRing, type BatchShape } from '../harness/batches.ts'
import { serveRole } from '../harness/child.ts'
import { underLoad } from '../harness/load.ts'
import { delayWatch, type LoopDelay } from '../harness/loop-delay.ts'

/** How long Node itself took, and after that the modules that are loaded before the first line here runs. */
const nodeMs = performance.nodeTiming.bootstrapComplete
const loadMs = performance.now() - nodeMs

export interface ServerSetup {
  readonly storage: 'memory' | 'disk'
  readonly directory: string
  readonly topicsMax?: number
}

export interface ServerStarted {
  /** From the start of the process until Node is up. */
  readonly nodeMs: number
  /** From then on until the program is loaded. */
  readonly loadMs: number
  /** From `start` of the broker until it is usable: recovery included. */
  readonly startMs: number
}

export interface Fill extends BatchShape {
  readonly topic: string
  readonly messages: number
  readonly inFlight: number
  readonly durability?: Durability
}

export interface BatchLoad extends BatchShape {
  readonly topic: string
  readonly seconds: number
  readonly inFlight: number
  readonly bytesMax: number
  readonly durability: Durability
  /** Beside it, so many readers of what is on disk only. */
  readonly coldReaders: number
}

export interface BatchRate {
  readonly payloadBytesPerSecond: number
  readonly loopDelay: LoopDelay
  readonly coldReads: number
  readonly coldReadMs: Latency
}

export interface SingleLoad {
  readonly topic: string
  readonly payloadBytes: number
  readonly seconds: number
  readonly inFlight: number
}

export interface SingleRate {
  readonly acksPerSecond: number
  readonly acksPerSync: number
  readonly bytesPerSync: number
  readonly latencyMs: Latency
}

export interface Memory {
  readonly rssBytes: number
  readonly arrayBufferBytes: number
  readonly heapBytes: number
}

const MIB = 1024 * 1024
/** A reader sends what it got over a network, too: 1 MiB each time is 100 MB/s and more for each reader. */
const coldReadPauseMs = 5
const anonymous = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
let broker: EmbeddedBroker
let stores: Stores
let session: Session

serveRole({
  start: async ({ storage, directory, topicsMax }: ServerSetup): Promise<ServerStarted> => {
    const chosen = await storageOf(storage, directory)
    broker = await createBroker({
      storage: { ...chosen, open: (platform: Platform) => (stores = chosen.open(platform)) },
      platform: { logger: silentLogger },
      limits: topicsMax === undefined ? {} : { topicsMax },
    })
    const beginMs = performance.now()
    await broker.start()
    const startMs = performance.now() - beginMs
    session = await broker.facade.connect(anonymous, { kind: 'none' })
    return { nodeMs, loadMs, startMs }
  },
  createTopic: async ({ topic, config }: { topic: string; config: Partial<TopicConfig> }) => {
    await broker.createTopic(topic, config)
  },
  fill: (fill: Fill) => fillTopic(fill),
  fillSingly: ({ topic, messages, payloadBytes, inFlight }: Fill) => {
    const payload = new Uint8Array(payloadBytes)
    return inLanes(inFlight, messages, () => broker.publish(topic, payload))
  },
  /** Makes topics that are not there yet, and publishes a message to each. */
  fillTopics: (count: number) => {
    let made = 0
    return inLanes(64, count, async () => {
      const topic = `topic-${made++}`
      await broker.createTopic(topic, { durability: 'os' })
      await broker.publish(topic, 'x')
    })
  },
  endOffset: async (topic: string): Promise<number> => (await broker.offsets(topic, 'latest'))[0].offset,
  batches: (load: BatchLoad) => publishBatches(load),
  singles: (load: SingleLoad) => publishSingles(load),
  memory: (): Memory => {
    globalThis.gc?.()
    const { rss, arrayBuffers, heapUsed } = process.memoryUsage()
    return { rssBytes: rss, arrayBufferBytes: arrayBuffers, heapBytes: heapUsed }
  },
  stop: () => broker.stop(),
})

async function storageOf(storage: ServerSetup['storage'], directory: string): Promise<Storage> {
  if (storage === 'disk') return (await import('ratatoskr/adapters/disk')).diskStorage({ directory })
  return (await import('ratatoskr/adapters/memory')).memoryStorage()
}

/** Runs something so many times, several at once. */
async function inLanes(lanes: number, times: number, run: () => Promise<unknown>): Promise<void> {
  let left = times
  const lane = async () => {
    while (left-- > 0) await run()
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

async function fillTopic({ topic, messages, inFlight, durability, ...shape }: Fill): Promise<void> {
  const ring = new BatchRing(inFlight + 1, shape)
  const batches = Math.ceil(messages / shape.recordsPerBatch)
  const publish = (options = {}) => broker.publishBatch(topic, 0, ring.next(), options)
  await inLanes(inFlight, batches - 1, () => publish({ durability }))
  // The last is synced, and all before it with it.
  await publish({ durability: stores.logs.supports.durability.at(-1) })
}

async function publishBatches({ coldReaders, ...load }: BatchLoad): Promise<BatchRate> {
  const { topic, seconds, inFlight, bytesMax, durability, ...shape } = load
  const ring = new BatchRing(inFlight + 1, shape)
  let over = false
  const readMs: number[] = []
  const readers = Array.from({ length: coldReaders }, async (_, reader) => {
    // Each begins elsewhere, far from the end, and goes round.
    let offset = reader * shape.recordsPerBatch * 8
    while (!over) {
      const beginMs = performance.now()
      const { nextOffset } = await session.fetch(topic, { partition: 0, offset, bytesMax: MIB })
      readMs.push(performance.now() - beginMs)
      offset = nextOffset > coldEnd(shape) ? 0 : nextOffset
      await sleep(coldReadPauseMs)
    }
  })
  const watch = delayWatch()
  const result = await underLoad(
    {
      lanes: inFlight,
      seconds,
      operationsMax: Math.floor(bytesMax / ring.batchBytes),
      snapshot: () => watch.turn(),
    },
    () => broker.publishBatch(topic, 0, ring.next(), { durability }),
  )
  over = true
  await Promise.all(readers)
  return {
    payloadBytesPerSecond: (result.operations * shape.recordsPerBatch * shape.payloadBytes) / result.seconds,
    loopDelay: result.after,
    coldReads: readMs.length,
    coldReadMs: latencyOf(Float64Array.from(readMs)),
  }
}

/** Readers stay below this offset: it was on disk, and out of memory, before the load began. */
const coldEnd = ({ payloadBytes }: BatchShape): number => Math.floor((64 * MIB) / payloadBytes)

async function publishSingles({ topic, payloadBytes, seconds, inFlight }: SingleLoad): Promise<SingleRate> {
  const payload = new Uint8Array(payloadBytes)
  let ms: number[] = []
  let samples: number[] = []
  const result = await underLoad<LogStoreCounters>(
    {
      lanes: inFlight,
      seconds,
      operationsMax: Number.MAX_SAFE_INTEGER,
      snapshot: () => {
        if (ms.length > 0) samples = ms
        ms = []
        return { ...stores.logs.counters }
      },
    },
    async () => {
      const beginMs = performance.now()
      await broker.publish(topic, payload, { durability: 'fsync' })
      ms.push(performance.now() - beginMs)
    },
  )
  const { before, after, operations } = result
  const syncs = Math.max(1, after.syncs - before.syncs)
  return {
    acksPerSecond: operations / result.seconds,
    acksPerSync: operations / syncs,
    bytesPerSync: Math.round((after.appendedBytes - before.appendedBytes) / syncs),
    latencyMs: latencyOf(Float64Array.from(samples)),
  }
}

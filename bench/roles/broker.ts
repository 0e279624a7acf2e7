/** The broker under test, with one transport, one storage and one topic. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { writeHeapSnapshot } from 'node:v8'
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { keepHeapSmallWhileIdle, paceCollector } from 'ratatoskr/adapters/node'
import type { Durability, Storage, Transport } from 'ratatoskr/ports'
import { serveRole } from '../harness/child.ts'
import { delayWatch, type LoopDelay } from '../harness/loop-delay.ts'

export interface BrokerSetup {
  readonly transport: TransportName
  readonly storage: StorageName
  readonly durability: Durability
  /** Where the disk storage keeps its data, and the Unix socket is. */
  readonly directory: string
  readonly topic: string
  readonly moreTopics?: readonly string[]
  /** What the topic keeps: more than any consumer may lag, so that retention never takes what is not read yet. */
  readonly retentionBytes: number
  readonly verifyRecords: boolean
  /** The limit of that name; the default otherwise. */
  readonly loopDelayMsMax?: number
  /** Asks for this token, and decides about each call; without one everybody may do everything. */
  readonly token?: string
}

export type TransportName = 'tcp' | 'unix' | 'ws' | 'grpc' | 'http'
export type StorageName = 'memory' | 'disk'

// Only what runs is loaded, so that the memory of the process is that of a deployment like it.
const transports: Readonly<Record<TransportName, (directory: string) => Promise<Transport>>> = {
  tcp: async () => (await import('ratatoskr/adapters/tcp')).tcpTransport({ port: 0 }),
  unix: async (directory) =>
    (await import('ratatoskr/adapters/tcp')).tcpTransport({ path: join(directory, 'socket') }),
  ws: async () => (await import('ratatoskr/adapters/websocket')).webSocketTransport({ port: 0 }),
  grpc: async () => (await import('ratatoskr/adapters/grpc')).grpcTransport({ port: 0 }),
  http: async () => (await import('ratatoskr/adapters/http')).httpTransport({ port: 0 }),
}

const storages: Readonly<Record<StorageName, (directory: string) => Promise<Storage>>> = {
  memory: async () => (await import('ratatoskr/adapters/memory')).memoryStorage(),
  disk: async (directory) => (await import('ratatoskr/adapters/disk')).diskStorage({ directory }),
}

export interface BrokerMemory {
  readonly rssBytes: number
  /** Of the heap, and of buffers beside it, after garbage was collected when Node allows that. */
  readonly usedBytes: number
  readonly descriptors: number
}

let broker: EmbeddedBroker
let loop: ReturnType<typeof delayWatch> | undefined

serveRole({
  start: async (setup: BrokerSetup): Promise<string> => {
    paceCollector() // as 'ratatoskr serve' does
    broker = await createBroker({
      storage: await storages[setup.storage](setup.directory),
      transports: [await transports[setup.transport](setup.directory)],
      verifyRecords: setup.verifyRecords,
      retentionIntervalMs: 50,
      limits: setup.loopDelayMsMax === undefined ? {} : { loopDelayMsMax: setup.loopDelayMsMax },
      ...(setup.token === undefined ? {} : { security: await securityOf(setup.token) }),
    })
    await broker.start()
    keepHeapSmallWhileIdle() // likewise
    const { retentionBytes, durability, topic, moreTopics = [] } = setup
    for (const name of [topic, ...moreTopics]) {
      await broker.createTopic(name, {
        retentionBytes,
        retentionMessages: -1,
        durability,
        segmentBytes: Math.max(64 * 1024, Math.floor(retentionBytes / 8)),
      })
    }
    return broker.addresses[0].url
  },
  endOffset: async (topic: string): Promise<number> => (await broker.offsets(topic, 'latest'))[0].offset,
  watchLoop: (): void => {
    loop ??= delayWatch()
    loop.turn()
  },
  /** Since `watchLoop`. */
  loopDelay: (): LoopDelay | undefined => loop?.turn(),
  memory: async (): Promise<BrokerMemory> => {
    // What V8 holds in reserve for young objects, up to 32 MB whatever was done, goes back as well.
    globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
    const { rss, heapUsed, external } = process.memoryUsage()
    const descriptors = (await readdir('/proc/self/fd')).length
    return { rssBytes: rss, usedBytes: heapUsed + external, descriptors }
  },
  /** Of what is in use; the process stands still meanwhile. @param file where it goes */
  heapSnapshot: (file: string): void => void writeHeapSnapshot(file),
})

async function securityOf(token: string) {
  const { staticTokens } = await import('ratatoskr/adapters/static-auth')
  const rules = [{ actions: ['topic:publish', 'topic:consume'], topics: 'bench' }]
  return staticTokens({ tokens: { [token]: { name: 'bench', allow: rules } } })
}

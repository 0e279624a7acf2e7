/** The broker under test, with one transport, one storage and one topic. */
import { createBroker } from 'ratatoskr'
import type { Durability, Storage, Transport } from 'ratatoskr/ports'
import { serveRole } from '../harness/child.ts'

export interface BrokerSetup {
  readonly transport: TransportName
  readonly storage: StorageName
  readonly durability: Durability
  /** Where the disk storage keeps its data. */
  readonly directory: string
  readonly topic: string
  readonly moreTopics?: readonly string[]
  /** What the topic keeps: more than any consumer may lag, so that retention never takes what is not read yet. */
  readonly retentionBytes: number
  readonly verifyRecords: boolean
}

export type TransportName = 'ws' | 'grpc' | 'http'
export type StorageName = 'memory' | 'disk'

// Only what runs is loaded, so that the memory of the process is that of a deployment like it.
const transports: Readonly<Record<TransportName, () => Promise<Transport>>> = {
  ws: async () => (await import('ratatoskr/adapters/websocket')).webSocketTransport({ port: 0 }),
  grpc: async () => (await import('ratatoskr/adapters/grpc')).grpcTransport({ port: 0 }),
  http: async () => (await import('ratatoskr/adapters/http')).httpTransport({ port: 0 }),
}

const storages: Readonly<Record<StorageName, (directory: string) => Promise<Storage>>> = {
  memory: async () => (await import('ratatoskr/adapters/memory')).memoryStorage(),
  disk: async (directory) => (await import('ratatoskr/adapters/disk')).diskStorage({ directory }),
}

serveRole({
  start: async (setup: BrokerSetup): Promise<string> => {
    const broker = await createBroker({
      storage: await storages[setup.storage](setup.directory),
      transports: [await transports[setup.transport]()],
      verifyRecords: setup.verifyRecords,
      retentionIntervalMs: 50,
    })
    await broker.start()
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
})

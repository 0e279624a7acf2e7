/** The broker under test, with one transport, one storage and one topic. */
import { createBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import type { Durability, Storage, Transport } from 'ratatoskr/ports'
import { serveRole } from '../harness/child.ts'

export interface BrokerSetup {
  readonly transport: TransportName
  readonly storage: StorageName
  readonly durability: Durability
  /** Where the disk storage keeps its data. */
  readonly directory: string
  readonly topic: string
  /** What the topic keeps: more than any consumer may lag, so that retention never takes what is not read yet. */
  readonly retentionBytes: number
  readonly verifyRecords: boolean
}

export type TransportName = 'ws' | 'grpc' | 'http'
export type StorageName = 'memory' | 'disk'

const transports: Readonly<Record<TransportName, () => Transport>> = {
  ws: () => webSocketTransport({ port: 0 }),
  grpc: () => grpcTransport({ port: 0 }),
  http: () => httpTransport({ port: 0 }),
}

const storages: Readonly<Record<StorageName, (directory: string) => Storage>> = {
  memory: () => memoryStorage(),
  disk: (directory) => diskStorage({ directory }),
}

serveRole({
  start: async (setup: BrokerSetup): Promise<string> => {
    const broker = await createBroker({
      storage: storages[setup.storage](setup.directory),
      transports: [transports[setup.transport]()],
      verifyRecords: setup.verifyRecords,
      retentionIntervalMs: 50,
    })
    await broker.start()
    const { retentionBytes, durability } = setup
    await broker.createTopic(setup.topic, {
      retentionBytes,
      durability,
      segmentBytes: Math.max(64 * 1024, Math.floor(retentionBytes / 8)),
    })
    return broker.addresses[0].url
  },
})

/** Our broker in a process of its own, for one run. */
import type { Through } from '../harness/flows.ts'
import { BenchProcess } from '../harness/process.ts'
import type { ScenarioOptions } from '../harness/scenario.ts'
import type { BrokerSetup, TransportName } from '../roles/broker.ts'

export type Kept = Pick<BrokerSetup, 'storage' | 'durability'>
export type KeptName = 'memory' | 'fsync'

export const kinds: Readonly<Record<KeptName, Kept>> = {
  memory: { storage: 'memory', durability: 'memory' },
  fsync: { storage: 'disk', durability: 'fsync' },
}

export const topic = 'bench'
const MIB = 1024 * 1024
/** A producer stays so close before the consumers; the topic keeps far more, and less than the memory storage holds. */
export const lagBytesMax = 64 * MIB
const retentionBytes = 256 * MIB
/** What the topic of a broker keeps that runs as it is built. */
export const keptTopic = { retentionBytes, retentionMessages: -1, segmentBytes: retentionBytes / 8 } as const

export interface OurBroker {
  readonly kept: Kept
  readonly transport: TransportName
  readonly topics: readonly string[]
  /** A folder for the disk storage. */
  readonly directory: string
  /** The broker asks for it; nobody is asked without. */
  readonly token?: string
  /** More flags for Node. */
  readonly nodeFlags?: readonly string[]
}

/** Starts a broker, runs with it, and ends it. */
export async function withBroker<Result>(
  { kept, transport, topics, directory, token, nodeFlags = [] }: OurBroker,
  { profileDirectory, verifyRecords, loopDelayMsMax }: ScenarioOptions,
  run: (through: Through & { readonly server: BenchProcess }) => Promise<Result>,
): Promise<Result> {
  await using broker = new BenchProcess('broker', { profileDirectory, nodeFlags })
  const [first, ...moreTopics] = topics
  const common = { ...kept, transport, directory, retentionBytes, verifyRecords }
  const more = {
    ...(token === undefined ? {} : { token }),
    ...(loopDelayMsMax === undefined ? {} : { loopDelayMsMax }),
  }
  const setup: BrokerSetup = { ...common, topic: first, moreTopics, ...more }
  const address = (await broker.ask('start', setup)) as string
  return await run({ client: 'ratatoskr', address, server: broker })
}

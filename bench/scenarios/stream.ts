/**
 * `stream-<storage>-<transport>` and `fanout-10`: one producer, the broker, one or ten consumers, through the public client;
 * batches as the client makes them, every message counted, in order and checked.
 */
import { type Comparison, comparisonScenario } from '../harness/comparison.ts'
import { runMessages } from '../harness/flows.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Claim, Run } from '../harness/report.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { runStream } from '../harness/stream.ts'
import type { PeerName } from '../peers/index.ts'
import type { TransportName } from '../roles/broker.ts'
import type { ConsumerSetup } from '../roles/consumer.ts'
import type { ProducerSetup } from '../roles/producer.ts'
import { batchCeiling, type Fan } from './ceiling.ts'
import { type KeptName, kinds, lagBytesMax, type OurBroker, topic, withBroker } from './ours.ts'
import { peerLagMax } from './peer-lag.ts'

export const single: Fan = { receivers: 1, subscribers: 1 }
const ten: Fan = { receivers: 2, subscribers: 5 }

/** Those whose acknowledgement promises as much, or, marked in the report, less. */
const streamPeers: Readonly<Record<KeptName, readonly PeerName[]>> = {
  memory: ['nats-core', 'jetstream-memory', 'jetstream-memory-tuned', 'redis-memory', 'aedes'],
  fsync: ['redis-always', 'redis-everysec', 'jetstream-file', 'jetstream-file-tuned', 'rabbitmq-stream'],
}

const atLeast = (against: string, times: number): Claim => ({
  against,
  figure: 'messagesPerSecond',
  atLeast: times,
})

const streamClaims: Readonly<Record<string, readonly Claim[]>> = {
  'memory-tcp': [atLeast('ceiling', 0.85), atLeast('nats-core', 6)],
  'memory-ws': [atLeast('ceiling', 0.7), atLeast('nats-core', 5)],
  'memory-grpc': [atLeast('ceiling', 0.6), atLeast('nats-core', 4)],
  'fsync-tcp': [atLeast('ceiling', 0.7), atLeast('redis-always', 25), atLeast('jetstream-file', 60)],
}

export function streamScenario(kind: KeptName, transport: TransportName): Scenario {
  const where = kind === 'memory' ? 'in memory' : 'on disk, synced before each acknowledgement'
  return comparisonScenario({
    name: `stream-${kind}-${transport}`,
    about: `1 producer, 1 consumer, batches over ${transport}, ${where}`,
    claims: streamClaims[`${kind}-${transport}`] ?? [],
    ...batches(kind, transport, single, streamPeers[kind]),
  })
}

export const fanOut = (transport: TransportName): Scenario =>
  comparisonScenario({
    name: 'fanout-10',
    about: `1 producer, 10 consumers in 2 processes, batches over ${transport}, in memory; deliveries a second`,
    claims: [atLeast('nats-core', 5)],
    ...batches('memory', transport, ten, ['nats-core']),
  })

function batches(
  kind: KeptName,
  transport: TransportName,
  fan: Fan,
  names: readonly PeerName[],
): Pick<Comparison, 'setting' | 'ours' | 'reference' | 'peers'> {
  const kept = kinds[kind]
  return {
    setting: { ...kept, transport, producers: 1, consumers: fan.receivers * fan.subscribers },
    ours: (options, directory) => runBatches({ kept, transport, topics: [topic], directory }, fan, options),
    reference: { name: 'ceiling', run: (options) => batchCeiling(options, fan) },
    peers: {
      names,
      topics: [topic],
      run: (through, { payloadBytes, seconds }) => {
        const load = { lagMax: peerLagMax(payloadBytes) }
        return runMessages(through, { topic, delivery: 'stream', load, payloadBytes, seconds, ...fan })
      },
    },
  }
}

/** Producer and consumers of ours at full load; the broker's token is theirs too. */
export const runBatches = (broker: OurBroker, fan: Fan, options: ScenarioOptions): Promise<Run> =>
  withBroker(broker, options, async ({ address: url, server }) => {
    const { payloadBytes, batchBytes, seconds } = options
    await using stack = new AsyncDisposableStack()
    const producer = stack.use(new BenchProcess('producer'))
    const lagMax = Math.ceil(lagBytesMax / payloadBytes)
    const { token } = broker
    const setup: ProducerSetup = { url, token, topic, payloadBytes, batchBytes, lagMax }
    const consumerSetup: ConsumerSetup = { url, token, topic, payloadBytes, subscribers: fan.subscribers }
    const consumers = Array.from({ length: fan.receivers }, () => ({
      process: stack.use(new BenchProcess('consumer')),
      setup: consumerSetup,
    }))
    return await runStream(server, { process: producer, setup }, consumers, seconds)
  })

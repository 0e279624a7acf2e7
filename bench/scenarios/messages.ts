/**
 * Scenarios of single messages, each published, delivered and checked by itself: `messages-…` at full load, `pingpong-…` one at
 * a time to and fro, `latency-10k-…` at a fixed rate with acknowledgements of both sides.
 */
import { comparisonScenario } from '../harness/comparison.ts'
import { pingPongTopics, runMessages, runPingPong, type Through } from '../harness/flows.ts'
import type { Claim, Run } from '../harness/report.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { TransportName } from '../roles/broker.ts'
import { batchCeiling, messageCeiling } from './ceiling.ts'
import { type KeptName, kinds, topic, withBroker } from './ours.ts'
import { peerLagMax } from './peer-lag.ts'

const one = { receivers: 1, subscribers: 1 }
const perSecond = 10_000

export function messagesScenario(transport: TransportName): Scenario {
  const run = (through: Through, { payloadBytes, seconds }: ScenarioOptions): Promise<Run> => {
    const load = { lagMax: peerLagMax(payloadBytes) }
    return runMessages(through, { topic, delivery: 'stream', load, payloadBytes, seconds, ...one })
  }
  const kept = kinds.memory
  return comparisonScenario({
    name: `messages-${transport}`,
    about: `publish() and for await, one message at a time, over ${transport}, in memory`,
    setting: { ...kept, transport, producers: 1, consumers: 1 },
    ours: (options, directory) =>
      withBroker({ kept, transport, topics: [topic], directory }, options, (through) =>
        run(through, options),
      ),
    reference: { name: 'ceiling', run: (options) => batchCeiling(options, one) },
    peers: { names: ['nats-core', 'aedes'], topics: [topic], run },
    claims: [
      { figure: 'messagesPerSecond', atLeast: 1_000_000 },
      { against: 'nats-core', figure: 'messagesPerSecond', atLeast: 1.2 },
    ],
  })
}

/** @param times how many times the round trip of NATS core ours may take */
export function pingPongScenario(transport: TransportName, times: number): Scenario {
  const run = (through: Through, { payloadBytes, seconds }: ScenarioOptions): Promise<Run> =>
    runPingPong(through, payloadBytes, seconds)
  const kept = kinds.memory
  return comparisonScenario({
    name: `pingpong-${transport}`,
    about: `one message to and fro over ${transport}, in memory: round trips a second, and how long each takes`,
    setting: { ...kept, transport, producers: 2, consumers: 2 },
    ours: (options, directory) =>
      withBroker({ kept, transport, topics: pingPongTopics, directory }, options, (through) =>
        run(through, options),
      ),
    reference: {
      name: 'ceiling',
      run: (options) => messageCeiling(pingPongTopics, (through) => run(through, options)),
    },
    peers: { names: ['nats-core', 'aedes'], topics: pingPongTopics, run },
    claims: (['p50', 'p99'] as const).map((figure) => ({ against: 'nats-core', figure, atMost: times })),
  })
}

export function latencyScenario(kind: KeptName, transport: TransportName): Scenario {
  const run = (through: Through, { payloadBytes, seconds }: ScenarioOptions): Promise<Run> =>
    runMessages(through, { topic, delivery: 'acked', load: { perSecond }, payloadBytes, seconds, ...one })
  const kept = kinds[kind]
  const jetStream = kind === 'memory' ? 'jetstream-memory' : 'jetstream-file'
  const claims: readonly Claim[] = [
    { against: jetStream, figure: 'p99', atMost: 0.5 },
    { figure: 'p99', atMost: 10 },
  ]
  return comparisonScenario({
    name: `latency-10k-${kind}`,
    about: `10,000 messages/s over ${transport}, ${kind}, each acknowledged to the producer and by the consumer`,
    setting: { ...kept, transport, producers: 1, consumers: 1 },
    ours: (options, directory) =>
      withBroker({ kept, transport, topics: [topic], directory }, options, (through) =>
        run(through, options),
      ),
    reference: {
      name: 'ceiling',
      run: (options) => messageCeiling([topic], (through) => run(through, options)),
    },
    peers: {
      names:
        kind === 'memory' ? [jetStream] : [jetStream, 'redis-always', 'redis-everysec', 'rabbitmq-stream'],
      topics: [topic],
      run,
    },
    claims,
  })
}

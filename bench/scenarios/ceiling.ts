/**
 * The reference that runs beside us: the same messages, encoded, checksummed and checked by the same code, through a bare TCP
 * relay that looks at nothing. No broker in Node can be faster.
 */
import type { Through } from '../harness/flows.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Run } from '../harness/report.ts'
import type { ScenarioOptions } from '../harness/scenario.ts'
import { runStream } from '../harness/stream.ts'
import type { RelayAddresses } from '../roles/relay.ts'
import type { RelayConsumerSetup } from '../roles/relay-consumer.ts'
import type { RelayProducerSetup } from '../roles/relay-producer.ts'

const topic = 'bench'

export interface Fan {
  /** Consuming processes, and how many subscriptions each has. */
  readonly receivers: number
  readonly subscribers: number
}

/** Whole batches, from one producer. */
export async function batchCeiling(
  { seconds, payloadBytes, batchBytes }: ScenarioOptions,
  { receivers, subscribers }: Fan,
): Promise<Run> {
  await using stack = new AsyncDisposableStack()
  const relay = stack.use(new BenchProcess('relay'))
  const producer = stack.use(new BenchProcess('relay-producer'))
  const { producerPort, consumerPort } = ((await relay.ask('start', [topic])) as RelayAddresses)[topic]
  const setup: RelayProducerSetup = { port: producerPort, payloadBytes, batchBytes }
  const consumerSetup: RelayConsumerSetup = { port: consumerPort, payloadBytes, subscribers }
  const consumers = Array.from({ length: receivers }, () => ({
    process: stack.use(new BenchProcess('relay-consumer')),
    setup: consumerSetup,
  }))
  return await runStream(relay, { process: producer, setup }, consumers, seconds)
}

/** Single messages, one lane for each topic. */
export async function messageCeiling(
  topics: readonly string[],
  run: (through: Through) => Promise<Run>,
): Promise<Run> {
  await using relay = new BenchProcess('relay')
  const address = JSON.stringify(await relay.ask('start', topics))
  return await run({ client: 'ceiling', address, server: relay })
}

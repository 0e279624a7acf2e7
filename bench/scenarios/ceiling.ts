/**
 * The reference that runs beside every stream: the same messages in the same batches, encoded, checksummed and checked by
 * the same code, through a bare TCP relay that looks at nothing. No broker in Node can be faster.
 */
import { BenchProcess } from '../harness/process.ts'
import type { Run } from '../harness/report.ts'
import type { ScenarioOptions } from '../harness/scenario.ts'
import { runStream } from '../harness/stream.ts'
import type { RelayAddress } from '../roles/relay.ts'

export async function runCeiling({ seconds, payloadBytes, batchBytes }: ScenarioOptions): Promise<Run> {
  await using relay = new BenchProcess('relay')
  await using producer = new BenchProcess('relay-producer')
  await using consumer = new BenchProcess('relay-consumer')
  const { producerPort, consumerPort } = (await relay.ask('start')) as RelayAddress
  return await runStream(
    relay,
    { process: producer, setup: { port: producerPort, payloadBytes, batchBytes } },
    { process: consumer, setup: { port: consumerPort, payloadBytes } },
    seconds,
  )
}

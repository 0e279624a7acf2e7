/** `unary-grpc`: one message a call, 64 in flight, beside a handler of grpc-js that does nothing. */
import { comparisonScenario } from '../harness/comparison.ts'
import { BenchProcess, type Measured } from '../harness/process.ts'
import type { Run } from '../harness/report.ts'
import type { ScenarioOptions } from '../harness/scenario.ts'
import { sleep, usesOf, warmUpMs } from '../harness/stream.ts'
import type { UnaryFindings, UnarySetup, UnaryWindow } from '../roles/unary-caller.ts'
import { kinds, topic, withBroker } from './ours.ts'

const inFlight = 64
const kept = kinds.memory

export const unaryGrpc = comparisonScenario({
  name: 'unary-grpc',
  about: 'one message a unary gRPC call, 64 calls in flight, in memory; beside an empty handler',
  setting: { ...kept, transport: 'grpc', producers: 1, consumers: 0 },
  ours: (options, directory) =>
    withBroker({ kept, transport: 'grpc', topics: [topic], directory }, options, ({ address, server }) =>
      runCalls(server, new URL(address).host, options),
    ),
  reference: {
    name: 'empty-handler',
    run: async (options) => {
      await using server = new BenchProcess('empty-grpc')
      return await runCalls(server, (await server.ask('start')) as string, options)
    },
  },
  claims: [{ against: 'empty-handler', figure: 'messagesPerSecond', atLeast: 0.8 }],
})

async function runCalls(
  server: Measured,
  address: string,
  { payloadBytes, seconds }: ScenarioOptions,
): Promise<Run> {
  await using caller = new BenchProcess('unary-caller')
  await caller.ask('start', { address, topic, payloadBytes, inFlight } satisfies UnarySetup)
  await sleep(warmUpMs(seconds))
  const measured = { broker: server, producer: caller }
  await Promise.all(Object.values(measured).map((process) => process.windowBegin()))
  await sleep(seconds * 1_000)
  const { calls, seconds: lasted, latencyMs } = (await caller.ask('window')) as UnaryWindow
  const processes = await usesOf(measured)
  const findings = (await caller.ask('stop')) as UnaryFindings
  const messagesPerSecond = Math.round(calls / lasted)
  return { messagesPerSecond, latencyMs, processes, ...findings, disordered: 0, damaged: 0 }
}

/**
 * `unary-grpc`: one message a call, 64 in flight, beside a handler of grpc-js that does nothing; the same by a caller that
 * costs little; and a broker of several workers beside as many such handlers.
 */
import { comparisonScenario } from '../harness/comparison.ts'
import { BenchProcess, type Measured } from '../harness/process.ts'
import type { Run } from '../harness/report.ts'
import type { ScenarioOptions } from '../harness/scenario.ts'
import { connectedTo, startServe } from '../harness/serve.ts'
import { sleep, usesOf, warmUpMs } from '../harness/stream.ts'
import type { UnaryFindings, UnarySetup, UnaryWindow } from '../roles/unary-caller.ts'
import { kinds, topic, withBroker } from './ours.ts'

const inFlight = 64
const kept = kinds.memory
/** As many callers: on four processors more of either would wait for each other. */
const workers = 2
const partitions = 12
/** Of each caller, so that the system spreads them about evenly. */
const connections = 8
const retentionMessages = 100_000

export const unaryGrpc = comparisonScenario({
  name: 'unary-grpc',
  about: 'one message a unary gRPC call, 64 calls in flight, in memory; beside an empty handler',
  setting: { ...kept, transport: 'grpc', producers: 1, consumers: 0 },
  ours: (options, directory) =>
    withBroker({ kept, transport: 'grpc', topics: [topic], directory }, options, ({ address, server }) =>
      runCalls('unary-caller', { broker: server }, [new URL(address).host], 1, options),
    ),
  reference: {
    name: 'empty-handler',
    run: async (options) => {
      await using server = new BenchProcess('empty-grpc')
      return await runCalls(
        'unary-caller',
        { broker: server },
        [(await server.ask('start')) as string],
        1,
        options,
      )
    },
  },
  claims: [{ against: 'empty-handler', figure: 'messagesPerSecond', atLeast: 0.8 }],
})

export const unaryGrpcBare = comparisonScenario({
  name: 'unary-grpc-bare',
  about:
    'the same by a caller that writes HTTP/2 itself, so that the server is the bound; beside an empty handler',
  setting: { ...kept, transport: 'grpc', producers: 1, consumers: 0 },
  ours: (options, directory) =>
    withBroker({ kept, transport: 'grpc', topics: [topic], directory }, options, ({ address, server }) =>
      runCalls('bare-caller', { broker: server }, [new URL(address).host], 1, options),
    ),
  reference: {
    name: 'empty-handler',
    run: async (options) => {
      await using server = new BenchProcess('empty-grpc')
      return await runCalls(
        'bare-caller',
        { broker: server },
        [(await server.ask('start')) as string],
        1,
        options,
      )
    },
  },
  claims: [{ against: 'empty-handler', figure: 'messagesPerSecond', atLeast: 0.8 }],
})

export const unaryGrpcWorkers = comparisonScenario({
  name: 'unary-grpc-workers',
  about: `the same by ${workers} callers to ${workers} workers; beside ${workers} empty handlers, each for one caller`,
  setting: { ...kept, transport: 'grpc', producers: workers, consumers: 0 },
  ours: async (options) => {
    await using broker = await startServe('grpc', workers, options.profileDirectory)
    await using client = await connectedTo(broker.address)
    await client.createTopic(topic, { partitions, retentionMessages })
    const { host } = new URL(broker.address)
    return await runCalls('unary-caller', { broker }, Array<string>(workers).fill(host), connections, options)
  },
  reference: {
    name: 'empty-handlers',
    run: async (options) => {
      await using stack = new AsyncDisposableStack()
      const servers = Array.from({ length: workers }, () => stack.use(new BenchProcess('empty-grpc')))
      const addresses = await Promise.all(servers.map((server) => server.ask('start') as Promise<string>))
      const named = servers.map((server, place) => [place === 0 ? 'broker' : `broker${place + 1}`, server])
      return await runCalls('unary-caller', Object.fromEntries(named), addresses, connections, options)
    },
  },
  claims: [{ against: 'empty-handlers', figure: 'messagesPerSecond', atLeast: 0.8 }],
})

/** One caller for each address. */
async function runCalls(
  role: 'unary-caller' | 'bare-caller',
  servers: Readonly<Record<string, Measured>>,
  addresses: readonly string[],
  connections: number,
  { payloadBytes, seconds }: ScenarioOptions,
): Promise<Run> {
  await using stack = new AsyncDisposableStack()
  const callers = addresses.map(() => stack.use(new BenchProcess(role)))
  await Promise.all(
    callers.map((caller, place) => {
      const setup: UnarySetup = { address: addresses[place], topic, payloadBytes, inFlight, connections }
      return caller.ask('start', setup)
    }),
  )
  await sleep(warmUpMs(seconds))
  const named = callers.map((caller, place) => [place === 0 ? 'producer' : `producer${place + 1}`, caller])
  const measured: Record<string, Measured> = { ...servers, ...Object.fromEntries(named) }
  await Promise.all(Object.values(measured).map((process) => process.windowBegin()))
  await sleep(seconds * 1_000)
  const windows = (await Promise.all(callers.map((caller) => caller.ask('window')))) as UnaryWindow[]
  const processes = await usesOf(measured)
  const findings = (await Promise.all(callers.map((caller) => caller.ask('stop')))) as UnaryFindings[]
  const sum = (part: keyof UnaryFindings) => findings.reduce((total, one) => total + one[part], 0)
  return {
    messagesPerSecond: Math.round(windows.reduce((total, one) => total + one.calls / one.seconds, 0)),
    latencyMs: windows.reduce((one, other) => (other.latencyMs.p99 > one.latencyMs.p99 ? other : one))
      .latencyMs,
    processes,
    sent: sum('sent'),
    lost: sum('lost'),
    duplicated: sum('duplicated'),
    disordered: 0,
    damaged: 0,
  }
}

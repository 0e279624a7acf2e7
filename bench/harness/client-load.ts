/** Loads that go through the public client in one process, as those of `ratatoskr bench` do. */
import type { Load, RunResult } from '../../src/cli/bench/run.ts'
import type { LoadTarget } from '../roles/load.ts'
import { BenchProcess } from './process.ts'
import type { ScenarioOptions } from './scenario.ts'
import { warmUpMs } from './stream.ts'

const inFlight = 10_000

/** One producer and one consumer, single messages; whatever is given otherwise. */
export const loadOf = (
  topic: string,
  { payloadBytes, batchBytes, seconds }: ScenarioOptions,
  otherwise: Partial<Load>,
): Load => ({
  topic,
  partitions: 1,
  payloadBytes,
  batchBytes,
  producers: 1,
  consumers: 1,
  singleInFlight: inFlight,
  perSecond: undefined,
  durability: undefined,
  warmUpMs: warmUpMs(seconds),
  durationMs: seconds * 1_000,
  bytesMax: Number.MAX_SAFE_INTEGER,
  ...otherwise,
})

/** A process that loads a broker: itself one, or beside one. */
export async function withLoader<T>(
  target: LoadTarget,
  work: (loader: BenchProcess) => Promise<T>,
): Promise<T> {
  await using loader = new BenchProcess('load', { nodeFlags: ['--expose-gc'] })
  await loader.ask('open', target)
  return await work(loader)
}

export const runLoadIn = async (loader: BenchProcess, load: Load): Promise<RunResult> =>
  (await loader.ask('run', load)) as RunResult

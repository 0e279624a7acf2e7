/** Scenarios in which we run beside others: what is ours, the ceiling and each peer are given, the rest is here. */
import { loadPeer, type PeerName } from '../peers/index.ts'
import { type Contestant, holdContest } from './contest.ts'
import type { Missing } from './figures.ts'
import type { Through } from './flows.ts'
import { inFolder } from './folder.ts'
import { type Claim, type Report, type Run, reportOf, type Setting } from './report.ts'
import type { Scenario, ScenarioOptions } from './scenario.ts'

export interface Comparison {
  readonly name: string
  readonly about: string
  readonly setting: Pick<Setting, 'transport' | 'storage' | 'durability' | 'producers' | 'consumers'>
  /** @param directory a folder of its own, removed afterwards */
  ours(options: ScenarioOptions, directory: string): Promise<Run>
  /** The reference that runs always. */
  readonly reference: {
    readonly name: string
    run(options: ScenarioOptions): Promise<Run>
  }
  /** Others of ours that run beside, for their figures. */
  readonly also?: readonly { readonly name: string; run(options: ScenarioOptions): Promise<Run> }[]
  readonly peers?: {
    readonly names: readonly PeerName[]
    readonly topics: readonly string[]
    run(through: Through, options: ScenarioOptions): Promise<Run>
  }
  readonly claims?: readonly Claim[]
}

export function comparisonScenario(comparison: Comparison): Scenario {
  const { name, about, setting, reference, claims = [] } = comparison
  return {
    name,
    about,
    async run(options): Promise<Report> {
      const ours: Contestant = {
        name: 'ratatoskr',
        version: process.version,
        durability: setting.durability,
        run: () => inFolder(options.directory, (directory) => comparison.ours(options, directory)),
      }
      const beside = [reference, ...(comparison.also ?? [])].map(
        ({ name, run }): Contestant => ({
          name,
          version: process.version,
          durability: 'none',
          run: () => run(options),
        }),
      )
      const { peers, missing } = await findPeers(comparison, options)
      const results = await holdContest([ours, ...beside, ...peers], options.runs, options.progress)
      const { payloadBytes, batchBytes, seconds } = options
      const given = { scenario: name, ...setting, payloadBytes, batchBytes, secondsPerRun: seconds }
      return reportOf(given, results, missing, claims)
    },
  }
}

/** The peers that are installed, when peers are asked for, and those that are not. */
async function findPeers({ peers }: Comparison, options: ScenarioOptions) {
  const found: Contestant[] = []
  const missing: Missing[] = []
  if (peers === undefined || !options.peers) return { peers: found, missing }
  for (const name of peers.names) {
    const peer = await loadPeer(name)
    const version = await peer.version()
    if (version === undefined) {
      missing.push({ name, why: 'not installed here' })
      options.progress(`${name} is missing: not installed here`)
      continue
    }
    const run = (directory: string) => runPeer(name, peers, options, directory)
    found.push({ name, version, durability: peer.durability, run: () => inFolder(options.directory, run) })
  }
  return { peers: found, missing }
}

async function runPeer(
  name: PeerName,
  { topics, run }: NonNullable<Comparison['peers']>,
  options: ScenarioOptions,
  directory: string,
): Promise<Run> {
  const peer = await loadPeer(name)
  await using server = await peer.start(directory)
  await peer.prepare(server.address, topics)
  return await run({ client: name, address: server.address, server }, options)
}

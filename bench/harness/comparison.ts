/** Scenarios in which we run beside others: what is ours, the ceiling and each peer are given, the rest is here. */
import { loadPeer, type PeerName } from '../peers/index.ts'
import { type Contestant, holdContest } from './contest.ts'
import type { Missing } from './figures.ts'
import type { Through } from './flows.ts'
import { inFolder } from './folder.ts'
import type { Peer, PeerServer } from './peer.ts'
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
      await using servers = new AsyncDisposableStack()
      const { peers, missing } = await findPeers(comparison, options, servers)
      const results = await holdContest([ours, ...beside, ...peers], options.runs, options.progress)
      const { payloadBytes, batchBytes, seconds } = options
      const given = { scenario: name, ...setting, payloadBytes, batchBytes, secondsPerRun: seconds }
      return reportOf(given, results, missing, claims)
    },
  }
}

/** The peers that are installed, when peers are asked for, and those that are not. */
async function findPeers({ peers }: Comparison, options: ScenarioOptions, servers: AsyncDisposableStack) {
  const found: Contestant[] = []
  const missing: Missing[] = []
  if (peers === undefined || !options.peers) return { peers: found, missing }
  for (const name of peers.names.filter((one) => options.peersOnly?.includes(one) ?? true)) {
    const peer = await loadPeer(name)
    const version = await peer.version()
    if (version === undefined) {
      missing.push({ name, why: 'not installed here' })
      options.progress(`${name} is missing: not installed here`)
      continue
    }
    const run = runsOf(peer, name, peers, options, servers)
    found.push({ name, version, durability: peer.durability, run })
  }
  return { peers: found, missing }
}

/** What one run of a peer is: with a server of its own, or, where starting takes long, with topics of its own. */
function runsOf(
  peer: Peer,
  name: PeerName,
  { topics, run }: NonNullable<Comparison['peers']>,
  options: ScenarioOptions,
  servers: AsyncDisposableStack,
): () => Promise<Run> {
  const { clear } = peer
  if (clear === undefined) {
    return () =>
      inFolder(options.directory, async (directory) => {
        await using server = await peer.start(directory)
        await peer.prepare(server.address, topics)
        return await run({ client: name, address: server.address, server }, options)
      })
  }
  let started: Promise<PeerServer> | undefined
  return async () => {
    started ??= startKept(peer, options.directory, servers)
    const server = await started
    await peer.prepare(server.address, topics)
    try {
      return await run({ client: name, address: server.address, server }, options)
    } finally {
      await clear(server.address, topics)
    }
  }
}

/** A server that is ended, and whose folder is removed, when the scenario is over. */
async function startKept(peer: Peer, directory: string, servers: AsyncDisposableStack): Promise<PeerServer> {
  const over = Promise.withResolvers<void>()
  const started = Promise.withResolvers<PeerServer>()
  const ended = inFolder(directory, async (folder) => {
    await using server = await peer.start(folder)
    started.resolve(server)
    await over.promise
  })
  ended.catch(started.reject)
  servers.defer(async () => {
    over.resolve()
    await ended
  })
  return started.promise
}

/**
 * `single-acks`: messages published one by one, each acknowledged when it is synced, many in flight: one sync must serve
 * them together. In turns with a bare file that writes and syncs blocks of the same size.
 */
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { Amount, RawLoad } from '../roles/disk.ts'
import type { ServerSetup, SingleLoad, SingleRate } from '../roles/server.ts'

const payloadBytes = 1024
const inFlight = 256
const rawBytesMax = 3 * 1024 ** 3

export const singleAcks: Scenario = {
  name: 'single-acks',
  about: 'single publishes, synced before each acknowledgement, 256 in flight',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      const ours = await inFolder(options.directory, (path) => runBroker(path, options))
      const syncsPerSecond = await rawSyncs(ours.bytesPerSync, options)
      figures.add('acknowledgements', '/s', ours.acksPerSecond)
      figures.add('acknowledgements a sync', 'acks/sync', ours.acksPerSync, { atLeast: inFlight / 4 })
      figures.add('time to acknowledgement, p50', 'ms', ours.latencyMs.p50)
      figures.add('time to acknowledgement, p99', 'ms', ours.latencyMs.p99)
      figures.add('syncs', '/s', ours.acksPerSecond / ours.acksPerSync)
      figures.add('bare file, blocks as the groups: syncs', '/s', syncsPerSecond)
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'disk')
  },
}

async function runBroker(directory: string, options: ScenarioOptions): Promise<SingleRate> {
  await using server = new BenchProcess('server', { profileDirectory: options.profileDirectory })
  await server.ask('start', { storage: 'disk', directory } satisfies ServerSetup)
  await server.ask('createTopic', { topic: 'bench', config: { durability: 'fsync' } })
  const load: SingleLoad = { topic: 'bench', payloadBytes, seconds: options.seconds, inFlight }
  const rate = (await server.ask('singles', load)) as SingleRate
  await server.ask('stop')
  return rate
}

function rawSyncs(blockBytes: number, { directory, seconds }: ScenarioOptions): Promise<number> {
  return inFolder(directory, async (path) => {
    await using bare = new BenchProcess('disk')
    const load: RawLoad = { directory: path, seconds, bytesMax: rawBytesMax, blockBytes }
    const { bytes, seconds: took } = (await bare.ask('raw', load)) as Amount
    return bytes / blockBytes / took
  })
}

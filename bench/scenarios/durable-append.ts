/**
 * `durable-append`: how near the disk store comes to the disk. One partition, several appends in flight, synced before each
 * is acknowledged; in turns with a bare file that writes blocks and syncs each: blocks as large as the store's groups were,
 * and blocks as large as one batch.
 */
import { Figures } from '../harness/figures.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { AppendLoad, AppendRate, RawLoad } from '../roles/disk.ts'

const KIB = 1024
const payloadBytes = KIB
const batchSizes = [64 * KIB, 256 * KIB, 1024 * KIB]
/** As many as the client's producer holds. */
const inFlight = 16
/** What one contestant writes at most in a run: removed after it. */
const bytesMax = 3 * 1024 ** 3
const bytesPerMegabyte = 1e6

export const durableAppend: Scenario = {
  name: 'durable-append',
  about: 'synced appends of 1 KiB messages to one partition, beside write + fdatasync of a bare file',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      for (const batchBytes of batchSizes) await measure(figures, batchBytes, options)
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'disk')
  },
}

async function measure(figures: Figures, batchBytes: number, options: ScenarioOptions): Promise<void> {
  const { directory, seconds, profileDirectory } = options
  await using store = new BenchProcess('disk', { profileDirectory })
  await using bare = new BenchProcess('disk')
  const load: AppendLoad = {
    directory,
    seconds,
    bytesMax,
    durability: 'fsync',
    payloadBytes,
    batchBytes,
    inFlight,
  }
  const ours = (await store.ask('append', load)) as AppendRate
  const raw = async (blockBytes: number) =>
    (await bare.ask('raw', { directory, seconds, bytesMax, blockBytes } satisfies RawLoad)) as number
  const byGroup = await raw(ours.bytesPerSync)
  const byBatch = await raw(batchBytes)
  const of = `batches of ${batchBytes / KIB} KiB`
  figures.add(`${of}: store`, 'MB/s', ours.bytesPerSecond / bytesPerMegabyte)
  figures.add(`${of}: bytes a sync`, 'bytes', ours.bytesPerSync)
  figures.add(`${of}: bare file, blocks as the groups`, 'MB/s', byGroup / bytesPerMegabyte)
  figures.add(`${of}: bare file, blocks as the batches`, 'MB/s', byBatch / bytesPerMegabyte)
  figures.add(`${of}: store / bare file as the groups`, '×', ours.bytesPerSecond / byGroup, { atLeast: 0.8 })
  figures.add(`${of}: store / bare file as the batches`, '×', ours.bytesPerSecond / byBatch, { atLeast: 0.8 })
}

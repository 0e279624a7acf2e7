/**
 * `durable-append`: how near the disk store comes to the disk. One partition, several appends in flight, synced before each
 * is acknowledged; in turns with a bare file that writes blocks and syncs each: blocks as large as the store's groups were,
 * and blocks as large as one batch.
 */
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { Amount, AppendLoad, AppendRate, RawLoad } from '../roles/disk.ts'

const KIB = 1024
const payloadBytes = KIB
const batchSizes = [64 * KIB, 256 * KIB, 1024 * KIB]
/** As many as the client's producer holds. */
const inFlight = 16
/** What one contestant writes at most in a run: removed after it. */
const bytesMax = 3 * 1024 ** 3
const turnsMax = 5
/** A shorter turn may end before the disk has synced anything. */
const turnSecondsMin = 0.2
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

/** All contestants go round several times within a run: what else the disk has to do changes from second to second. */
async function measure(figures: Figures, batchBytes: number, options: ScenarioOptions): Promise<void> {
  await using store = new BenchProcess('disk', { profileDirectory: options.profileDirectory })
  await using bare = new BenchProcess('disk')
  const turns = Math.max(1, Math.min(turnsMax, Math.floor(options.seconds / turnSecondsMin)))
  const ours: AppendRate[] = []
  const byGroup: Amount[] = []
  const byBatch: Amount[] = []
  await inFolder(options.directory, async (directory) => {
    const shared = { directory, seconds: options.seconds / turns, bytesMax: bytesMax / turns }
    const load: AppendLoad = { ...shared, durability: 'fsync', payloadBytes, batchBytes, inFlight }
    const raw = async (blockBytes: number) =>
      (await bare.ask('raw', { ...shared, blockBytes } satisfies RawLoad)) as Amount
    // Once for nothing: the code is compiled then.
    await store.ask('append', load)
    await raw(batchBytes)
    for (let turn = 0; turn < turns; turn++) {
      const appended = (await store.ask('append', load)) as AppendRate
      ours.push(appended)
      byGroup.push(await raw(Math.round(appended.bytes / appended.syncs)))
      byBatch.push(await raw(batchBytes))
    }
  })
  const of = `batches of ${batchBytes / KIB} KiB`
  figures.add(`${of}: store`, 'MB/s', rateOf(ours))
  figures.add(
    `${of}: bytes a sync`,
    'bytes',
    sumOf(ours, 'bytes') / ours.reduce((sum, { syncs }) => sum + syncs, 0),
  )
  figures.add(`${of}: bare file, blocks as the groups`, 'MB/s', rateOf(byGroup))
  figures.add(`${of}: bare file, blocks as the batches`, 'MB/s', rateOf(byBatch))
  figures.add(`${of}: store / bare file as the groups`, '×', rateOf(ours) / rateOf(byGroup), { atLeast: 0.8 })
  figures.add(`${of}: store / bare file as the batches`, '×', rateOf(ours) / rateOf(byBatch), {
    atLeast: 0.8,
  })
}

const sumOf = (amounts: readonly Amount[], field: keyof Amount): number =>
  amounts.reduce((sum, one) => sum + one[field], 0)

const rateOf = (amounts: readonly Amount[]): number =>
  sumOf(amounts, 'bytes') / sumOf(amounts, 'seconds') / bytesPerMegabyte

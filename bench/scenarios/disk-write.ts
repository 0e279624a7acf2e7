/** `disk-write`: megabytes of payload a second onto the disk, straight into the store and through the whole broker. */
import { recordsFor } from '../harness/batches.ts'
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { AppendLoad, AppendRate } from '../roles/disk.ts'
import type { BatchLoad, BatchRate, ServerSetup } from '../roles/server.ts'

const KIB = 1024
const payloads = [KIB, 16 * KIB]
const levels = ['interval', 'fsync'] as const
const inFlight = 16
const bytesMax = 3 * 1024 ** 3
const bytesPerMegabyte = 1e6
const asked = { atLeast: 50 }

export const diskWrite: Scenario = {
  name: 'disk-write',
  about: 'payload a second onto the disk: 1 and 16 KiB, `interval` and `fsync`, store and broker',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      for (const payloadBytes of payloads) {
        for (const level of levels) await measure(figures, payloadBytes, level, options)
      }
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'disk')
  },
}

async function measure(
  figures: Figures,
  payloadBytes: number,
  durability: (typeof levels)[number],
  options: ScenarioOptions,
): Promise<void> {
  const { directory, seconds, batchBytes } = options
  const of = `${payloadBytes / KIB} KiB, ${durability}`
  const shared = { seconds, bytesMax, durability, payloadBytes, inFlight }
  await using disk = new BenchProcess('disk')
  const stored = await inFolder(directory, async (path) => {
    const load: AppendLoad = { ...shared, directory: path, batchBytes }
    return (await disk.ask('append', load)) as AppendRate
  })
  figures.add(`${of}: store`, 'MB/s', stored.payloadBytes / stored.seconds / bytesPerMegabyte, asked)
  const throughBroker = await inFolder(directory, (path) =>
    runBroker(path, { ...shared, recordsPerBatch: recordsFor(batchBytes, payloadBytes) }, options),
  )
  figures.add(`${of}: broker`, 'MB/s', throughBroker / bytesPerMegabyte, asked)
}

async function runBroker(
  directory: string,
  load: Omit<BatchLoad, 'topic' | 'coldReaders'>,
  { profileDirectory }: ScenarioOptions,
): Promise<number> {
  await using server = new BenchProcess('server', { profileDirectory })
  await server.ask('start', { storage: 'disk', directory } satisfies ServerSetup)
  await server.ask('createTopic', { topic: 'bench', config: { durability: 'os' } })
  const rate = (await server.ask('batches', { ...load, topic: 'bench', coldReaders: 0 })) as BatchRate
  await server.ask('stop')
  return rate.payloadBytesPerSecond
}

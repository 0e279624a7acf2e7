/** `event-loop`: how late the event loop gets while the disk is written as fast as it goes, with reads from disk beside it. */
import { recordsFor } from '../harness/batches.ts'
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { BatchLoad, BatchRate, Fill, ServerSetup } from '../roles/server.ts'

const payloadBytes = 1024
const levels = ['os', 'fsync'] as const
const inFlight = 16
const bytesMax = 4 * 1024 ** 3
const bytesPerMegabyte = 1e6
/** More than the store keeps in memory, so that its beginning is on disk only; less for a quick try, with `--messages`. */
const coldMessagesMax = 256 * 1024

export const eventLoop: Scenario = {
  name: 'event-loop',
  about: 'event-loop delay at full write load, `os` and `fsync`, with and without reads from disk beside it',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      for (const durability of levels) {
        for (const coldReaders of [0, 4]) {
          const load = { durability, coldReaders }
          await inFolder(options.directory, (path) => measure(figures, path, load, options))
        }
      }
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'disk')
  },
}

async function measure(
  figures: Figures,
  directory: string,
  { durability, coldReaders }: Pick<BatchLoad, 'durability' | 'coldReaders'>,
  { seconds, batchBytes, messages, profileDirectory }: ScenarioOptions,
): Promise<void> {
  await using server = new BenchProcess('server', { profileDirectory })
  await server.ask('start', { storage: 'disk', directory } satisfies ServerSetup)
  const config = { durability: 'os', retentionMessages: -1 }
  await server.ask('createTopic', { topic: 'bench', config })
  const shape = {
    topic: 'bench',
    payloadBytes,
    recordsPerBatch: recordsFor(batchBytes, payloadBytes),
    inFlight,
  }
  await server.ask('fill', { ...shape, messages: Math.min(messages, coldMessagesMax) } satisfies Fill)
  const load: BatchLoad = { ...shape, seconds, bytesMax, durability, coldReaders }
  const rate = (await server.ask('batches', load)) as BatchRate
  await server.ask('stop')
  const of = coldReaders === 0 ? durability : `${durability}, ${coldReaders} readers of old data`
  figures.add(`${of}: delay p50`, 'ms', rate.loopDelay.p50Ms)
  figures.add(`${of}: delay p99`, 'ms', rate.loopDelay.p99Ms, { atMost: 20 })
  figures.add(`${of}: delay at most`, 'ms', rate.loopDelay.maxMs)
  figures.add(`${of}: written`, 'MB/s', rate.payloadBytesPerSecond / bytesPerMegabyte, { atLeast: 50 })
  if (coldReaders === 0) return
  figures.add(`${of}: read p50`, 'ms', rate.coldReadMs.p50)
  figures.add(`${of}: read p99`, 'ms', rate.coldReadMs.p99)
}

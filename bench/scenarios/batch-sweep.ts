/** `batch-sweep`: what larger batches give in messages and cost in time, at full load. */
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import type { Scenario } from '../harness/scenario.ts'
import { kinds, topic } from './ours.ts'
import { runBatches, single } from './stream.ts'

const KIB = 1024
const sizes = [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB]

export const batchSweep: Scenario = {
  name: 'batch-sweep',
  about: 'batches of 4 KiB to 1 MiB over TCP, in memory: messages a second, and how long each takes',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      for (const batchBytes of sizes) {
        const { messagesPerSecond, latencyMs, processes } = await inFolder(options.directory, (directory) =>
          runBatches({ kept: kinds.memory, transport: 'tcp', topics: [topic], directory }, single, {
            ...options,
            batchBytes,
          }),
        )
        const size = `batches of ${batchBytes / KIB} KiB`
        figures.add(size, '/s', messagesPerSecond)
        figures.add(`${size}: p50`, 'ms', latencyMs.p50)
        figures.add(`${size}: p99`, 'ms', latencyMs.p99)
        const brokerUs = (processes.broker.cpuSeconds * 1e6) / (messagesPerSecond * options.seconds)
        figures.add(`${size}: the broker, for a message`, 'µs', brokerUs)
      }
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'memory')
  },
}

/**
 * `allocations`: what a broker allocates on its heap for a message that goes through it, from a producer to a consumer. An
 * object takes 16 bytes at least: where less is allocated for a message, nothing is made for each, only for each batch.
 */
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import type { Scenario } from '../harness/scenario.ts'
import type { TransportName } from '../roles/broker.ts'
import { type KeptName, kinds, topic } from './ours.ts'
import { runBatches, single } from './stream.ts'

const paths: readonly (readonly [KeptName, TransportName])[] = [
  ['memory', 'tcp'],
  ['memory', 'ws'],
  ['memory', 'grpc'],
  ['fsync', 'tcp'],
]
const objectBytesMin = 16

export const allocations: Scenario = {
  name: 'allocations',
  about: "bytes on the broker's heap for a message of a stream, over TCP, WebSocket, gRPC, and on disk",
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      for (const [kind, transport] of paths) {
        const { messagesPerSecond, processes } = await inFolder(options.directory, (directory) =>
          runBatches({ kept: kinds[kind], transport, topics: [topic], directory }, single, options),
        )
        const { allocatedBytes = Number.NaN } = processes.broker
        const perMessage = allocatedBytes / (messagesPerSecond * options.seconds)
        figures.add(`a message, ${kind}, ${transport}`, 'bytes', perMessage, { atMost: objectBytesMin })
      }
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'memory, disk')
  },
}

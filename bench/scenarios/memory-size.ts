/** `memory-size`: what messages in the memory store cost of the process. */
import { Figures } from '../harness/figures.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario } from '../harness/scenario.ts'
import type { Fill, Memory, ServerSetup } from '../roles/server.ts'

const payloadBytes = 256
const bytesPerMegabyte = 1e6

export const memorySize: Scenario = {
  name: 'memory-size',
  about: 'growth of the process by --messages of 256 B in the memory store',
  async run({ runs, messages, directory, progress }) {
    const figures = new Figures()
    for (let run = 1; run <= runs; run++) {
      await using server = new BenchProcess('server', { nodeFlags: ['--expose-gc'] })
      await server.ask('start', { storage: 'memory', directory } satisfies ServerSetup)
      const config = { retentionMessages: -1, retentionBytes: -1 }
      await server.ask('createTopic', { topic: 'bench', config })
      const before = (await server.ask('memory')) as Memory
      const fill: Fill = { topic: 'bench', messages, payloadBytes, recordsPerBatch: 100, inFlight: 16 }
      await server.ask('fill', fill)
      const after = (await server.ask('memory')) as Memory
      const payload = messages * payloadBytes
      const grown = (field: keyof Memory) => (after[field] - before[field]) / payload
      figures.add('growth of resident memory / payload', '×', grown('rssBytes'), { atMost: 1.25 })
      figures.add('growth of array buffers / payload', '×', grown('arrayBufferBytes'), { atMost: 1.25 })
      figures.add('resident memory', 'MB', after.rssBytes / bytesPerMegabyte, { atMost: 2_000 })
      figures.add('heap', 'MB', after.heapBytes / bytesPerMegabyte)
      progress(`run ${run} of ${runs} done`)
    }
    return figures.report(this.name, 'memory')
  },
}

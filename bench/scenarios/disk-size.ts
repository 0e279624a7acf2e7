/** `disk-size`: bytes on disk for a byte of payload, everything in the data directory counted, live and after a clean stop. */
import { Figures } from '../harness/figures.ts'
import { inFolder, sizeOfFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { Fill, ServerSetup } from '../roles/server.ts'

interface Case {
  readonly name: string
  readonly payloadBytes: number
  readonly recordsPerBatch: number
  readonly op: 'fill' | 'fillSingly'
  readonly atMost: number
}

const cases: readonly Case[] = [
  { name: '100 B in batches of 100', payloadBytes: 100, recordsPerBatch: 100, op: 'fill', atMost: 1.12 },
  { name: '1 KiB in batches of 100', payloadBytes: 1024, recordsPerBatch: 100, op: 'fill', atMost: 1.03 },
  { name: '256 B in batches of 100', payloadBytes: 256, recordsPerBatch: 100, op: 'fill', atMost: 1.2 },
  {
    name: '256 B one by one, 256 in flight',
    payloadBytes: 256,
    recordsPerBatch: 1,
    op: 'fillSingly',
    atMost: 1.2,
  },
]

export const diskSize: Scenario = {
  name: 'disk-size',
  about: 'bytes on disk for a byte of payload, with --messages of each kind',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      for (const one of cases)
        await inFolder(options.directory, (path) => measure(figures, one, path, options))
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'disk')
  },
}

async function measure(
  figures: Figures,
  one: Case,
  path: string,
  { messages }: ScenarioOptions,
): Promise<void> {
  const { name, op, atMost, payloadBytes, recordsPerBatch } = one
  await using server = new BenchProcess('server')
  await server.ask('start', { storage: 'disk', directory: path } satisfies ServerSetup)
  const config = { durability: 'os', retentionMessages: -1, retentionBytes: -1 }
  await server.ask('createTopic', { topic: 'bench', config })
  const fill: Fill = { topic: 'bench', messages, payloadBytes, recordsPerBatch, inFlight: 256 }
  await server.ask(op, fill)
  const payload = messages * payloadBytes
  const add = async (when: string) => {
    const { fileBytes, allocatedBytes } = await sizeOfFolder(path)
    figures.add(`${name}, ${when}: files / payload`, '×', fileBytes / payload, { atMost })
    figures.add(`${name}, ${when}: allocated / payload`, '×', allocatedBytes / payload, { atMost })
  }
  await add('live')
  await server.ask('stop')
  await add('after a clean stop')
}

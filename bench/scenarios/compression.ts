/** `compression`: what each codec makes of batches of JSON messages of 1 KiB, and what that costs a producer and a consumer. */
import { nodePlatform } from 'ratatoskr/adapters/node'
import { BatchBuilder, type CompressionCodecs, RecordCursor } from 'ratatoskr/ports'
import { expandedRecords } from '../../src/domain/batch/expand.ts'
import { Figures } from '../harness/figures.ts'
import type { Scenario } from '../harness/scenario.ts'

const recordsPerBatch = 200
const payloadBytes = 1_024
const roundMs = 200
const nanosecondsPerMs = 1e6
const towns = ['Uppsala', 'Trondheim', 'Reykjavik', 'Odense', 'Turku', 'Visby']

/** Orders that resemble each other as real ones do: names and words again and again, numbers that differ. */
const payloads: readonly Uint8Array[] = Array.from({ length: recordsPerBatch }, (_, place) => {
  const lines = Array.from({ length: 20 }, (_, line) => ({
    article: `nut-${(place * 31 + line * 17) % 997}`,
    count: (place * line) % 13,
    cents: (place * 7_919 + line * 104_729) % 100_000,
  }))
  const order = {
    id: place * 2_654_435_761,
    customer: `c-${place % 71}`,
    town: towns[place % towns.length],
    lines,
  }
  return Buffer.from(JSON.stringify(order)).subarray(0, payloadBytes)
})

export const compressionScenario: Scenario = {
  name: 'compression',
  about: 'gzip, zstd and snappy: how small batches of JSON become, and what that costs',
  async run({ runs }) {
    const { checksum, compression } = nodePlatform()
    const figures = new Figures()
    for (let run = 0; run < runs; run++) {
      measure(figures, 'none', new BatchBuilder({ checksum }), compression)
      for (const codec of compression.values()) {
        measure(figures, codec.name, new BatchBuilder({ checksum, compression: codec }), compression)
      }
    }
    return figures.report(this.name, 'none')
  },
}

function measure(figures: Figures, name: string, builder: BatchBuilder, codecs: CompressionCodecs): void {
  const build = (): Uint8Array => {
    for (const payload of payloads) builder.add({ payload, timestampMs: 1 })
    return builder.build()
  }
  const batch = build().slice()
  const size = payloads.reduce((sum, { length }) => sum + length, 0)
  const cursor = new RecordCursor()
  const read = (): void => {
    cursor.open(batch, 0, expandedRecords(batch, 0, { codecs, bytesMax: 2 * size }))
    let count = 0
    while (cursor.next()) count++
    if (count !== recordsPerBatch)
      throw new Error(`${count} of ${recordsPerBatch} records came out of ${name}`)
  }
  figures.add(`${name}: batch / payload`, '×', batch.length / size)
  figures.add(`${name}: to build, a message`, 'ns', timeOf(build))
  figures.add(`${name}: to read, a message`, 'ns', timeOf(read))
}

/** Nanoseconds for a message. */
function timeOf(run: () => unknown): number {
  const beginMs = performance.now()
  let count = 0
  let elapsedMs = 0
  for (; elapsedMs < roundMs; elapsedMs = performance.now() - beginMs) {
    run()
    count++
  }
  return (elapsedMs * nanosecondsPerMs) / count / recordsPerBatch
}

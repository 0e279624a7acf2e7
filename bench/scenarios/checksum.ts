/** `checksum`: CRC-32C of the platform and of the portable fallback, over batches of 64 KiB. */
import { nodePlatform } from 'ratatoskr/adapters/node'
import { type Checksum, portableCrc32c } from 'ratatoskr/ports'
import { Figures } from '../harness/figures.ts'
import type { Scenario } from '../harness/scenario.ts'

const bytes = Uint8Array.from({ length: 64 * 1024 }, (_, index) => (index * 31) & 0xff)
const roundMs = 200

export const checksumScenario: Scenario = {
  name: 'checksum',
  about: 'CRC-32C: bytes a second, native and portable',
  async run({ runs }) {
    const { checksum } = nodePlatform()
    if (checksum(bytes) !== portableCrc32c(bytes)) throw new Error('the two checksums differ')
    const figures = new Figures()
    for (let run = 0; run < runs; run++) {
      figures.add("the platform's", 'MB/s', rateOf(checksum), { atLeast: 1_000 })
      figures.add('portable', 'MB/s', rateOf(portableCrc32c))
    }
    return figures.report(this.name, 'none')
  },
}

/** Megabytes a second. */
function rateOf(checksum: Checksum): number {
  const beginMs = performance.now()
  let count = 0
  let elapsedMs = 0
  for (; elapsedMs < roundMs; elapsedMs = performance.now() - beginMs) {
    checksum(bytes)
    count++
  }
  return (count * bytes.length) / 1_000 / elapsedMs
}

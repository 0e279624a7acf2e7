/**
 * `store-soak`: one partition of the disk store appends, rolls, reads, deletes and cuts for a while. After the warm-up
 * neither heap nor resident memory may rise.
 */
import { Figures } from '../harness/figures.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario } from '../harness/scenario.ts'
import type { SoakLoad, SoakResult } from '../roles/soak.ts'

export const storeSoak: Scenario = {
  name: 'store-soak',
  about: 'append, read, roll, truncate in circles for --seconds: the slope of heap and resident memory',
  async run({ runs, seconds, directory, progress }) {
    const figures = new Figures()
    for (let run = 1; run <= runs; run++) {
      await using soak = new BenchProcess('soak', { nodeFlags: ['--expose-gc'] })
      const result = (await soak.ask('soak', { seconds, directory } satisfies SoakLoad)) as SoakResult
      figures.add('circles', '/s', result.circles / seconds)
      figures.add('slope of the heap', 'MB/min', result.heapSlope, { atMost: 2 })
      figures.add('slope of array buffers', 'MB/min', result.arrayBufferSlope, { atMost: 2 })
      figures.add('slope of resident memory', 'MB/min', result.rssSlope, { atMost: 10 })
      figures.add('open descriptors, second half - first half', 'descriptors', result.descriptorsGrown, {
        atMost: 0,
      })
      figures.add('resident memory at the end', 'MB', result.rssMegabytes)
      progress(`run ${run} of ${runs} done`)
    }
    return figures.report(this.name, 'disk')
  },
}

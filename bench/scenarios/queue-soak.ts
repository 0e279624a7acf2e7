/**
 * `queue-soak`: queue groups at a steady rate, with retries, dead letters and members that come and go: after the warm-up
 * neither heap nor resident memory may rise. Half an hour says something; less shows that it runs.
 */
import { Figures } from '../harness/figures.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario } from '../harness/scenario.ts'
import type { QueueSoakLoad, QueueSoakResult } from '../roles/queue-soak.ts'

const perSecond = 5_000
/** How many segments retention has left at a moment differs by a few; all other descriptors stay. */
const segmentsMore = 8

export const queueSoak: Scenario = {
  name: 'queue-soak',
  about: '5,000 messages/s through two queue groups on disk for --seconds: slopes of memory, descriptors',
  async run({ runs, seconds, directory, payloadBytes, progress }) {
    const figures = new Figures()
    for (let run = 1; run <= runs; run++) {
      await using soak = new BenchProcess('queue-soak', { nodeFlags: ['--expose-gc'] })
      const load = { seconds, directory, perSecond, payloadBytes } satisfies QueueSoakLoad
      const result = (await soak.ask('soak', load)) as QueueSoakResult
      if (result.left > 0) throw new Error(`${result.left} messages are left at the end`)
      figures.add('messages handled, both groups', '/s', result.handled / seconds)
      figures.add('messages that failed', '/s', result.failed / seconds)
      figures.add('dead letters redriven', '/s', result.redriven / seconds)
      figures.add('slope of the heap', 'MB/min', result.heapSlope, { atMost: 2 })
      figures.add('slope of array buffers', 'MB/min', result.arrayBufferSlope, { atMost: 2 })
      figures.add('slope of resident memory', 'MB/min', result.rssSlope, { atMost: 10 })
      figures.add('open descriptors, second half - first half', 'descriptors', result.descriptorsGrown, {
        atMost: segmentsMore,
      })
      figures.add('resident memory at the end', 'MB', result.rssMegabytes)
      progress(`run ${run} of ${runs} done`)
    }
    return figures.report(this.name, 'disk')
  },
}

/** `embedded`: from publish to handler within one process. */
import { Figures } from '../harness/figures.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { EmbeddedRate } from '../roles/embedded.ts'

const perSecond = 100_000
const microsecondsPerMs = 1_000

export const embedded: Scenario = {
  name: 'embedded',
  about: 'publish to handler in one process: single messages, batches, and latency at 100,000 messages/s',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      const single = await measure('single', options)
      figures.add('single messages', '/s', single.messagesPerSecond, { atLeast: 1_000_000 })
      const batches = await measure('batches', options)
      figures.add('in batches', '/s', batches.messagesPerSecond, { atLeast: 10_000_000 })
      const { latencyMs } = await measure('paced', options)
      figures.add('at 100,000/s: p50', 'µs', latencyMs.p50 * microsecondsPerMs)
      figures.add('at 100,000/s: p99', 'µs', latencyMs.p99 * microsecondsPerMs, { atMost: 10 })
      figures.add('at 100,000/s: p99.9', 'µs', latencyMs.p999 * microsecondsPerMs)
      options.progress(
        `run ${run} of ${options.runs}: ${Math.round(single.messagesPerSecond)} single messages/s`,
      )
    }
    return figures.report(this.name, 'memory')
  },
}

async function measure(
  kind: 'single' | 'batches' | 'paced',
  { payloadBytes, batchBytes, seconds, profileDirectory }: ScenarioOptions,
): Promise<EmbeddedRate> {
  await using process = new BenchProcess('embedded', { profileDirectory })
  const rate = (await process.ask(kind, { payloadBytes, batchBytes, seconds, perSecond })) as EmbeddedRate
  const { lost, duplicated, disordered, damaged } = rate.findings
  if (lost + duplicated + disordered + damaged > 0) {
    throw new Error(`${kind}: ${JSON.stringify(rate.findings)}`)
  }
  return rate
}

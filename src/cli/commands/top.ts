/** `ratatoskr top`: what a running broker has to do, again and again until it is stopped, or once. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Client } from '../../client/client.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { type ConnectionOptions, wholeNumber, withClient } from '../connection.ts'
import { durationMs } from '../duration.ts'
import { type OutputFormat, write } from '../output.ts'
import { busiest, reportOf, type TopReport } from '../top/report.ts'
import { type Sample, takeSample } from '../top/sample.ts'
import { Screen, textOf } from '../top/screen.ts'

interface TopOptions extends ConnectionOptions {
  readonly once?: boolean
  readonly interval: string
  readonly topics: string
}

const intervalMsMin = 100
const intervalMsMax = 3_600_000

export const top = (options: TopOptions): Promise<void> => {
  const intervalMs = durationMs('--interval', options.interval)
  if (intervalMs < intervalMsMin || intervalMs > intervalMsMax) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `--interval takes 100ms to 1h, got ${JSON.stringify(options.interval)}`,
    )
  }
  const topicsMax = wholeNumber('--topics', options.topics, 1)
  return withClient(options, async (client) => {
    const stop = new AbortController()
    const quit = (): void => stop.abort()
    process.once('SIGINT', quit)
    process.once('SIGTERM', quit)
    const screen =
      options.once !== true && options.output === 'table' && process.stdout.isTTY
        ? new Screen(process.stdout, process.stdin, quit)
        : undefined
    screen?.enter()
    try {
      for await (const report of reports(client, intervalMs, topicsMax, stop.signal)) {
        if (screen !== undefined) screen.show(textOf(report))
        else await write(process.stdout, printed(report, options.output))
        if (options.once === true) break
      }
    } finally {
      screen?.leave()
      process.off('SIGINT', quit)
      process.off('SIGTERM', quit)
    }
  })
}

/** A report for each interval, until `signal` is aborted. */
async function* reports(
  client: Client,
  intervalMs: number,
  topicsMax: number,
  signal: AbortSignal,
): AsyncGenerator<TopReport> {
  let before: Sample | undefined
  while (!signal.aborted) {
    const sample: Sample = await takeSample(client, (topics) => busiest(topics, before, topicsMax))
    if (signal.aborted) return
    if (before !== undefined) yield reportOf(before, sample, topicsMax)
    before = sample
    await pause(intervalMs, undefined, { signal }).catch(() => undefined)
  }
}

function printed(report: TopReport, format: OutputFormat): string {
  if (format === 'json') return `${JSON.stringify(report, null, 2)}\n`
  return format === 'ndjson' ? `${JSON.stringify(report)}\n` : `${textOf(report)}\n`
}

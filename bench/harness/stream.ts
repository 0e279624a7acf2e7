/**
 * One run of a stream: a producer, something in between, and a consumer, each a process of its own. After a warm-up the
 * window is measured; then the producer stops, and the consumer must have received everything that was sent.
 */
import type { Findings, Window } from './messages.ts'
import type { BenchProcess } from './process.ts'
import type { ProcessUse, Run } from './report.ts'

export interface StreamPart {
  readonly process: BenchProcess
  /** What its role is started with. */
  readonly setup: unknown
}

const warmUpMsMax = 1_000

/** Runs a stream whose middle is started already. The consumer is started first, then the producer. */
export async function runStream(
  middle: BenchProcess,
  producer: StreamPart,
  consumer: StreamPart,
  seconds: number,
): Promise<Run> {
  consumer.process.onNotice = (notice, count) => {
    if (notice === 'received') producer.process.ask('received', count).catch(() => {}) // it may be over by now
  }
  await consumer.process.ask('start', consumer.setup)
  await producer.process.ask('start', producer.setup)
  await sleep(Math.min(warmUpMsMax, seconds * 1_000))
  const measured = { broker: middle, producer: producer.process, consumer: consumer.process }
  await Promise.all(Object.values(measured).map((process) => process.ask('windowBegin')))
  await sleep(seconds * 1_000)
  const window = (await consumer.process.ask('window')) as Window
  const uses = Object.entries(measured).map(async ([role, process]) => [role, rounded(await process.usage())])
  const processes = Object.fromEntries(await Promise.all(uses)) as Record<string, ProcessUse>
  const sent = (await producer.process.ask('stop')) as number
  const { received: _received, ...findings } = (await consumer.process.ask('finish', sent)) as Findings
  return {
    messagesPerSecond: Math.round(window.messages / window.seconds),
    latencyMs: window.latencyMs,
    processes,
    sent,
    ...findings,
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const rounded = ({ cpuSeconds, rssMegabytes }: ProcessUse): ProcessUse => ({
  cpuSeconds: Number(cpuSeconds.toFixed(2)),
  rssMegabytes: Math.round(rssMegabytes),
})

/**
 * One run of a flow: a producer, something in between, and consumers, each a process of its own. After a warm-up the window
 * is measured; then the producer stops, and every consumer must have received everything that was sent.
 */
import { addUp, type Findings, type Window } from '../../src/cli/bench/messages.ts'
import type { BenchProcess, Measured } from './process.ts'
import type { ProcessUse, Run } from './report.ts'

export interface StreamPart {
  readonly process: BenchProcess
  /** What its role is started with. */
  readonly setup: unknown
}

const warmUpMsMax = 1_000

/** Runs a stream whose middle is started already. The consumers are started first, then the producer. */
export async function runStream(
  middle: Measured,
  producer: StreamPart,
  consumers: readonly StreamPart[],
  seconds: number,
): Promise<Run> {
  const received = consumers.map(() => 0)
  for (const [place, { process }] of consumers.entries()) {
    process.onNotice = (notice, count) => {
      if (notice !== 'received') return
      received[place] = count
      producer.process.ask('received', Math.min(...received)).catch(() => {}) // it may be over by now
    }
  }
  for (const { process, setup } of consumers) await process.ask('start', setup)
  await producer.process.ask('start', producer.setup)
  await sleep(warmUpMs(seconds))
  const measured: Record<string, Measured> = { broker: middle, producer: producer.process }
  for (const [place, { process }] of consumers.entries()) {
    measured[place === 0 ? 'consumer' : `consumer${place + 1}`] = process
  }
  await Promise.all(Object.values(measured).map((process) => process.windowBegin()))
  await sleep(seconds * 1_000)
  const windows = (await Promise.all(consumers.map(({ process }) => process.ask('window')))) as Window[]
  const processes = await usesOf(measured)
  const sent = (await producer.process.ask('stop')) as number
  const findings = await Promise.all(consumers.map(({ process }) => process.ask('finish', sent)))
  const { received: _received, ...harm } = addUp(findings as Findings[])
  return {
    messagesPerSecond: Math.round(windows.reduce((sum, window) => sum + window.messages / window.seconds, 0)),
    latencyMs: worst(windows).latencyMs,
    processes,
    sent,
    ...harm,
  }
}

/** As long as the window, when that is shorter. */
export const warmUpMs = (seconds: number): number => Math.min(warmUpMsMax, seconds * 1_000)

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function usesOf(
  measured: Readonly<Record<string, Measured>>,
): Promise<Readonly<Record<string, ProcessUse>>> {
  const uses = Object.entries(measured).map(async ([role, process]) => {
    const { cpuSeconds, rssMegabytes, allocatedBytes } = await process.usage()
    const use = { cpuSeconds: Number(cpuSeconds.toFixed(2)), rssMegabytes: Math.round(rssMegabytes) }
    return [role, allocatedBytes === undefined ? use : { ...use, allocatedBytes }] as const
  })
  return Object.fromEntries(await Promise.all(uses))
}

/** The window of the process that waits longest. */
const worst = (windows: readonly Window[]): Window =>
  windows.reduce((one, other) => (other.latencyMs.p99 > one.latencyMs.p99 ? other : one))

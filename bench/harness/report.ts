/** What a scenario reports: one JSON object, the medians of its runs. */
import { cpus, totalmem } from 'node:os'
import type { Latency } from './messages.ts'

/** One run of one contestant. */
export interface Run {
  readonly messagesPerSecond: number
  readonly latencyMs: Latency
  /** Seconds of CPU and megabytes resident at most, by role. */
  readonly processes: Readonly<Record<string, ProcessUse>>
  readonly sent: number
  readonly lost: number
  readonly duplicated: number
  readonly disordered: number
  readonly damaged: number
}

export interface ProcessUse {
  readonly cpuSeconds: number
  readonly rssMegabytes: number
}

export interface Peer {
  readonly name: string
  readonly version: string
  readonly messagesPerSecond: number
  readonly messagesPerSecondRange: readonly [least: number, most: number]
  readonly latencyMs: Latency
  /** How many times the peer's messages a second ours are: above 1 we are faster. */
  readonly ratio: number
}

export interface Report {
  readonly scenario: string
  readonly transport: string
  readonly storage: string
  readonly durability: string
  readonly payloadBytes: number
  readonly batchBytes: number
  readonly producers: number
  readonly consumers: number
  readonly runs: number
  readonly secondsPerRun: number
  readonly messagesPerSecond: number
  readonly messagesPerSecondRange: readonly [least: number, most: number]
  /** Of payload, in millions of bytes. */
  readonly megabytesPerSecond: number
  /** From making a message to checking it. */
  readonly latencyMs: Latency
  /** The broker's, in the median run; all processes are in `processes`. */
  readonly cpuSeconds: number
  readonly rssMegabytes: number
  readonly processes: Readonly<Record<string, ProcessUse>>
  readonly messages: number
  readonly lost: number
  readonly duplicated: number
  readonly disordered: number
  readonly damaged: number
  readonly peers: readonly Peer[]
  readonly machine: Machine
}

export type Machine = Readonly<Record<string, string | number>>

/** The run in the middle, by messages a second. */
export function medianRun(runs: readonly Run[]): Run {
  const sorted = runs.toSorted((a, b) => a.messagesPerSecond - b.messagesPerSecond)
  return sorted[sorted.length >> 1]
}

export function rangeOf(runs: readonly Run[]): readonly [number, number] {
  const rates = runs.map(({ messagesPerSecond }) => messagesPerSecond)
  return [Math.min(...rates), Math.max(...rates)]
}

export function peerOf(name: string, version: string, runs: readonly Run[], ours: Run): Peer {
  const { messagesPerSecond, latencyMs } = medianRun(runs)
  return {
    name,
    version,
    messagesPerSecond,
    messagesPerSecondRange: rangeOf(runs),
    latencyMs,
    ratio: Number((ours.messagesPerSecond / messagesPerSecond).toFixed(3)),
  }
}

/** Adds up over all runs. */
export const sumOf = (
  runs: readonly Run[],
  field: 'sent' | 'lost' | 'duplicated' | 'disordered' | 'damaged',
): number => runs.reduce((sum, run) => sum + run[field], 0)

export function machine(): Machine {
  const processors = cpus()
  return {
    node: process.version,
    system: `${process.platform} ${process.arch}`,
    processor: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
  }
}

/** What a scenario that compares us with others reports: one JSON object. */

import { cpus } from 'node:os'
import type { Latency } from '../../src/cli/bench/messages.ts'
import { median, type Range, rangeOf, ratioByRound, rounded } from '../../src/cli/bench/statistics.ts'
import type { Contestant, Result } from './contest.ts'
import type { Asked, Missing } from './figures.ts'
import { type Machine, machine } from './machine.ts'
import type { ProcessorShare } from './processor-share.ts'

/** One run of one contestant. */
export interface Run {
  /** Messages that were checked; round trips, or calls, where a scenario is about those. */
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
  /** On V8's heap, in the window. */
  readonly allocatedBytes?: number
}

/** What a contestant did: medians of its runs, and their range. */
interface Performance {
  readonly messagesPerSecond: number
  readonly messagesPerSecondRange: Range
  /** Each percentile is the median of all runs. */
  readonly latencyMs: Latency
  readonly latencyMsRange: { readonly p50: Range; readonly p99: Range }
  /** Those of the median run, by role. */
  readonly processes: Readonly<Record<string, ProcessUse>>
  /** CPU time of the broker for a message, in the median run. */
  readonly brokerMicroseconds: number
  /** What all its processes took of all processors, in the window of the median run: 1 is all of them. */
  readonly processorShare: number
}

export interface PeerReport extends Performance {
  readonly name: string
  readonly version: string
  readonly durability: string
  /** Our messages a second by the peer's, the median of all rounds: above 1 we are faster. */
  readonly ratio: number
  /** Our latency by the peer's: below 1 we are faster. */
  readonly latencyRatio: { readonly p50: number; readonly p99: number }
  readonly lost: number
  readonly duplicated: number
}

/** Something that is asked of the result. */
export type Claim = {
  /** A contestant, when it is a ratio to it that counts. */
  readonly against?: string
  readonly figure: 'messagesPerSecond' | 'p50' | 'p99'
} & Asked

interface Judged {
  readonly asked: string
  readonly bound: Asked
  /** Undefined when the contestant did not take part. */
  readonly value?: number
  readonly met?: boolean
}

/** What all contestants were given. */
export interface Setting {
  readonly scenario: string
  readonly transport: string
  readonly storage: string
  readonly durability: string
  readonly payloadBytes: number
  readonly batchBytes: number
  readonly producers: number
  readonly consumers: number
  readonly secondsPerRun: number
}

export interface Report extends Setting, Performance {
  readonly runs: number
  /** Of payload, in millions of bytes. */
  readonly megabytesPerSecond: number
  /** The broker's, in the median run; all processes are in `processes`. */
  readonly cpuSeconds: number
  readonly rssMegabytes: number
  readonly messages: number
  readonly lost: number
  readonly duplicated: number
  readonly disordered: number
  readonly damaged: number
  readonly peers: readonly PeerReport[]
  readonly missing: readonly Missing[]
  readonly judged: readonly Judged[]
  readonly machine: Machine
  /** Of the whole scenario, all contestants; of one contestant's window tells `processorShare`. */
  readonly processors?: ProcessorShare
}

/** @param results ours first */
export function reportOf(
  setting: Setting,
  [ours, ...others]: readonly Result[],
  missing: readonly Missing[],
  claims: readonly Claim[],
): Report {
  const performance = performanceOf(ours.runs, setting.secondsPerRun)
  const { messagesPerSecond, processes, ...rest } = performance
  const peers = others.map(({ contestant, runs }) =>
    peerOf(contestant, runs, ours.runs, setting.secondsPerRun),
  )
  return {
    ...setting,
    runs: ours.runs.length,
    messagesPerSecond,
    ...rest,
    megabytesPerSecond: Math.round((messagesPerSecond * setting.payloadBytes) / 1e6),
    ...(processes.broker ?? { cpuSeconds: 0, rssMegabytes: 0 }),
    processes,
    messages: sumOf(ours.runs, 'sent'),
    lost: sumOf(ours.runs, 'lost'),
    duplicated: sumOf(ours.runs, 'duplicated'),
    disordered: sumOf(ours.runs, 'disordered'),
    damaged: sumOf(ours.runs, 'damaged'),
    peers,
    missing,
    judged: claims.map((claim) => judge(claim, performance, peers)),
    machine: machine(),
  }
}

/** The run in the middle, by messages a second. */
export function medianRun(runs: readonly Run[]): Run {
  const sorted = runs.toSorted((a, b) => a.messagesPerSecond - b.messagesPerSecond)
  return sorted[sorted.length >> 1]
}

function performanceOf(runs: readonly Run[], seconds: number): Performance {
  const each = (value: (run: Run) => number): number[] => runs.map(value)
  const latency = (part: keyof Latency): number[] => each(({ latencyMs }) => latencyMs[part])
  const middle = medianRun(runs)
  const allSeconds = Object.values(middle.processes).reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)
  const brokerSeconds = middle.processes.broker?.cpuSeconds ?? 0
  const rates = each(({ messagesPerSecond }) => messagesPerSecond)
  return {
    messagesPerSecond: Math.round(median(rates)),
    messagesPerSecondRange: rangeOf(rates),
    latencyMs: {
      p50: rounded(median(latency('p50'))),
      p99: rounded(median(latency('p99'))),
      p999: rounded(median(latency('p999'))),
      max: Math.max(...latency('max')),
    },
    latencyMsRange: { p50: rangeOf(latency('p50')), p99: rangeOf(latency('p99')) },
    processes: middle.processes,
    processorShare: rounded(allSeconds / (seconds * cpus().length)),
    brokerMicroseconds: rounded((brokerSeconds * 1e6) / (middle.messagesPerSecond * seconds)),
  }
}

function peerOf(
  { name, version, durability }: Contestant,
  runs: readonly Run[],
  ours: readonly Run[],
  seconds: number,
): PeerReport {
  const ratio = (value: (run: Run) => number): number =>
    rounded(ratioByRound(ours.map(value), runs.map(value)))
  return {
    name,
    version,
    durability,
    ...performanceOf(runs, seconds),
    ratio: ratio(({ messagesPerSecond }) => messagesPerSecond),
    latencyRatio: {
      p50: ratio(({ latencyMs }) => latencyMs.p50),
      p99: ratio(({ latencyMs }) => latencyMs.p99),
    },
    lost: sumOf(runs, 'lost'),
    duplicated: sumOf(runs, 'duplicated'),
  }
}

function judge(claim: Claim, ours: Performance, peers: readonly PeerReport[]): Judged {
  const { against, figure } = claim
  const bound = 'atLeast' in claim ? `≥ ${claim.atLeast}` : `≤ ${claim.atMost}`
  const asked = against === undefined ? `${figure} ${bound}` : `${figure} ${bound} × ${against}`
  const wanted: Asked = 'atLeast' in claim ? { atLeast: claim.atLeast } : { atMost: claim.atMost }
  const value = against === undefined ? figureOf(ours, figure) : ratioTo(peers, against, figure)
  if (value === undefined) return { asked, bound: wanted }
  return {
    asked,
    bound: wanted,
    value,
    met: 'atLeast' in claim ? value >= claim.atLeast : value <= claim.atMost,
  }
}

const figureOf = (ours: Performance, figure: Claim['figure']): number =>
  figure === 'messagesPerSecond' ? ours.messagesPerSecond : ours.latencyMs[figure]

function ratioTo(peers: readonly PeerReport[], name: string, figure: Claim['figure']): number | undefined {
  const peer = peers.find((one) => one.name === name)
  return figure === 'messagesPerSecond' ? peer?.ratio : peer?.latencyRatio[figure]
}

/** Adds up over all runs. */
const sumOf = (
  runs: readonly Run[],
  field: 'sent' | 'lost' | 'duplicated' | 'disordered' | 'damaged',
): number => runs.reduce((sum, run) => sum + run[field], 0)

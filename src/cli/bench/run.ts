/**
 * A run of `ratatoskr bench`: senders and readers in this process, each with a connection of its own. After a warm-up the
 * window is measured; then the senders stop, and every reader must get everything that was sent.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../../client/client.ts'
import { type Durability, RatatoskrError } from '../../ports/index.ts'
import { addUp, type Findings, type Latency, latencyOf } from './messages.ts'
import { Reader } from './reader.ts'
import { Sender } from './sender.ts'

export interface Load {
  readonly topic: string
  readonly partitions: number
  readonly payloadBytes: number
  readonly batchBytes: number
  readonly producers: number
  readonly consumers: number
  /** Messages are published one by one, so many of each producer under way, and handled one by one. */
  readonly singleInFlight: number | undefined
  /** Messages a second of all producers together; as many as are taken without. */
  readonly perSecond: number | undefined
  readonly durability: Durability | undefined
  readonly warmUpMs: number
  readonly durationMs: number
  /** Payload that is published at most, warm-up included; the window ends with it. */
  readonly bytesMax: number
}

export interface RunResult {
  /** Length of the window, shorter than asked for when it was ended early. */
  readonly seconds: number
  readonly sent: number
  /** Published in the window. */
  readonly publishedPerSecond: number
  /** Handled in the window, by all consumers together. */
  readonly deliveredPerSecond: number
  /** From making a message, or from when it was due, until a consumer handled it; undefined without consumers. */
  readonly latencyMs: Latency | undefined
  /** From making a message, or from when it was due, until it was acknowledged; of single messages only. */
  readonly acknowledgedMs: Latency | undefined
  readonly findings: Findings
  /** Of this process, in the window. */
  readonly cpuSeconds: number
  /** How much of the window this process's event loop was busy, from 0 to 1; at a fixed rate it always turns. */
  readonly loopBusy: number
  /** All that may be published was published: the window ended with that. */
  readonly isSpent: boolean
}

const lagBytesMax = 64 * 1024 * 1024
const lagMessagesMax = 100_000
const lookMs = 10
/** A reader to whom nothing more comes for so long has what it will ever get. */
const silenceMs = 5_000
const warmUpPartOfBytes = 0.2

/**
 * @param open a new connection each time; whoever gives it closes it
 * @param signal ends the window early; what was measured until then counts
 * @param progress how far the window is, from time to time
 */
export async function runLoad(
  load: Load,
  open: () => Promise<Client>,
  signal: AbortSignal,
  progress: (published: number, elapsedMs: number) => void,
): Promise<RunResult> {
  const readers = await openReaders(load, open)
  let stopped = false
  const senders = await openSenders(load, open, readers, () => stopped)
  const sent = () => senders.map((sender) => sender.sent)
  const watch = async (untilMs: number, look: () => void, early: () => boolean): Promise<void> => {
    while (performance.now() < untilMs && !signal.aborted && !early()) {
      await Promise.race([
        sleep(Math.min(lookMs, Math.max(0, untilMs - performance.now()))),
        // One that fails ends the run at once.
        ...senders.map((sender) => sender.done.then(() => sleep(lookMs))),
      ])
      for (const reader of readers) void reader.received
      look()
    }
  }
  try {
    const warmUpMessages = messagesMaxOf(load) * load.producers * warmUpPartOfBytes
    const warm = () => sum(sent()) >= warmUpMessages
    await watch(performance.now() + load.warmUpMs, () => {}, warm)
    if (signal.aborted) {
      throw new RatatoskrError('RTK_CANCELLED', 'interrupted before anything was measured')
    }
    const window = new Window(senders, readers, load.singleInFlight !== undefined)
    const isSpent = () => senders.every((sender) => sender.isSpent)
    await watch(
      window.beginMs + load.durationMs,
      () => progress(window.published, performance.now() - window.beginMs),
      isSpent,
    )
    const spent = isSpent()
    const measured = window.end()
    stopped = true
    await Promise.all(senders.map((sender) => sender.done))
    await settled(readers, sum(sent()))
    const findings = addUp(readers.map((reader) => reader.findings(sent())))
    return { ...measured, sent: sum(sent()), findings, isSpent: spent }
  } finally {
    stopped = true
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, one) => total + one, 0)

const messagesMaxOf = ({ bytesMax, payloadBytes, producers }: Load): number =>
  Math.max(1, Math.floor(bytesMax / payloadBytes / producers))

function openReaders(load: Load, open: () => Promise<Client>): Promise<readonly Reader[]> {
  const { topic, producers, payloadBytes, singleInFlight, perSecond } = load
  const single = singleInFlight !== undefined
  const options = { topic, producers, payloadBytes, single, everyTimed: perSecond !== undefined }
  return Promise.all(Array.from({ length: load.consumers }, async () => Reader.open(await open(), options)))
}

async function openSenders(
  load: Load,
  open: () => Promise<Client>,
  readers: readonly Reader[],
  stopped: () => boolean,
): Promise<readonly Sender[]> {
  const { batchBytes, durability, payloadBytes, singleInFlight, perSecond, producers } = load
  const clients = await Promise.all(Array.from({ length: producers }, open))
  return clients.map((client, place) => {
    const batching = { batchBytesMax: batchBytes, bufferBytesMax: 16 * batchBytes }
    const bounds = singleInFlight === undefined ? batching : { ...batching, waitingMax: singleInFlight }
    const options = {
      topic: load.topic,
      partition: place % load.partitions,
      payloadBytes,
      singleInFlight,
      perSecond: perSecond === undefined ? undefined : perSecond / producers,
      messagesMax: messagesMaxOf(load),
      lagMax: Math.max(1, Math.min(lagMax(load), Math.floor(lagBytesMax / payloadBytes))),
    }
    const received =
      readers.length === 0 ? undefined : () => Math.min(...readers.map((reader) => reader.receivedOf(place)))
    return new Sender(client.producer({ ...bounds, durability }), place, options, received, stopped)
  })
}

/** Single messages cost more memory while they wait than their payload does. */
const lagMax = ({ singleInFlight }: Load): number =>
  singleInFlight === undefined ? Number.MAX_SAFE_INTEGER : lagMessagesMax

/** What is measured between two moments. */
class Window {
  readonly beginMs = performance.now()
  readonly #senders: readonly Sender[]
  readonly #readers: readonly Reader[]
  readonly #single: boolean
  readonly #sentBefore: number
  readonly #cpu = process.cpuUsage()
  readonly #loop = performance.eventLoopUtilization()

  constructor(senders: readonly Sender[], readers: readonly Reader[], single: boolean) {
    this.#senders = senders
    this.#readers = readers
    this.#single = single
    this.#sentBefore = sum(senders.map(({ sent }) => sent))
    for (const one of [...senders, ...readers]) one.windowBegin()
  }

  get published(): number {
    return sum(this.#senders.map(({ sent }) => sent)) - this.#sentBefore
  }

  end(): Omit<RunResult, 'sent' | 'findings' | 'isSpent'> {
    const seconds = (performance.now() - this.beginMs) / 1_000
    const { user, system } = process.cpuUsage(this.#cpu)
    const { utilization } = performance.eventLoopUtilization(this.#loop)
    const acknowledged = joined(this.#senders.map(({ acknowledgedMs }) => acknowledgedMs))
    const handled = joined(this.#readers.flatMap(({ samples }) => samples))
    return {
      seconds,
      publishedPerSecond: this.published / seconds,
      deliveredPerSecond: sum(this.#readers.map(({ receivedInWindow }) => receivedInWindow)) / seconds,
      latencyMs: this.#readers.length === 0 ? undefined : latencyOf(handled),
      acknowledgedMs: this.#single ? latencyOf(acknowledged) : undefined,
      cpuSeconds: (user + system) / 1e6,
      loopBusy: utilization,
    }
  }
}

function joined(parts: readonly Float64Array[]): Float64Array {
  const all = new Float64Array(sum(parts.map(({ length }) => length)))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** Waits until every reader has so many messages, or gets nothing more. */
async function settled(readers: readonly Reader[], sent: number): Promise<void> {
  const least = (): number => Math.min(...readers.map((reader) => reader.received))
  let seen = least()
  let seenMs = performance.now()
  while (seen < sent && performance.now() - seenMs < silenceMs) {
    await sleep(lookMs)
    if (least() === seen) continue
    seen = least()
    seenMs = performance.now()
  }
}

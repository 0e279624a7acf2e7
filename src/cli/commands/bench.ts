/**
 * `ratatoskr bench`: what a running broker carries: producers and consumers in this process, every message counted and
 * checked. Uses a topic of its own, which it deletes, or one that is there.
 */
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import type { Client } from '../../client/client.ts'
import { type Durability, isDurability, isRatatoskrError, RatatoskrError } from '../../ports/index.ts'
import type { Latency } from '../bench/messages.ts'
import type { Load, RunResult } from '../bench/run.ts'
import { type ConnectionOptions, openClient, wholeNumber, withClient } from '../connection.ts'
import { durationMs } from '../duration.ts'
import { exitCodes } from '../exit-codes.ts'
import { Progress, printRecord } from '../output.ts'

interface BenchOptions extends ConnectionOptions {
  readonly topic?: string
  readonly partitions?: string
  readonly producers: string
  readonly consumers: string
  readonly payload: string
  readonly single?: boolean
  readonly inFlight?: string
  readonly batch: string
  readonly rate?: string
  readonly duration: string
  readonly warmUp: string
  readonly maxBytes: string
  readonly durability?: string
}

const KIB = 1024
const producersMax = 1_000
const consumersMax = 10_000
const inFlightDefault = 10_000
/** Above it, what is measured is this process and not the broker. */
const loopBusyMax = 0.9
/** Part of a rate that counts as reached. */
const rateReached = 0.98

export const bench = (options: BenchOptions): Promise<void> =>
  withClient(options, async (client) => {
    const asked = await loadOf(options)
    const stop = new AbortController()
    const interrupt = () => stop.abort()
    process.once('SIGINT', interrupt)
    process.once('SIGTERM', interrupt)
    try {
      await withTopic(client, options, asked, async (load) => {
        const result = await measured(load, options, stop.signal)
        await report(load, result, options)
      })
    } finally {
      process.off('SIGINT', interrupt)
      process.off('SIGTERM', interrupt)
    }
  })

type Asked = Omit<Load, 'topic' | 'partitions'> & { readonly partitions: number | undefined }

/** @throws RTK_INVALID_ARGUMENT that names the option */
async function loadOf(options: BenchOptions): Promise<Asked> {
  const { payloadBytesMin } = await import('../bench/messages.ts')
  const { durability, single = false, inFlight, rate, partitions } = options
  if (durability !== undefined && !isDurability(durability)) {
    throw invalid(
      `--durability takes memory, os, interval, fsync or quorum, got ${JSON.stringify(durability)}`,
    )
  }
  if (inFlight !== undefined && !single) throw invalid('--in-flight goes with --single')
  if (partitions !== undefined && options.topic !== undefined) {
    throw invalid('--partitions is for a topic of its own; an existing --topic has as many as it has')
  }
  const atMost = (option: string, text: string, min: number, max: number): number => {
    const value = wholeNumber(option, text, min)
    if (value > max) throw invalid(`${option} takes at most ${max}, got ${value}`)
    return value
  }
  return {
    partitions: partitions === undefined ? undefined : wholeNumber('--partitions', partitions, 1),
    payloadBytes: wholeNumber('--payload', options.payload, payloadBytesMin),
    batchBytes: wholeNumber('--batch', options.batch, KIB),
    producers: atMost('--producers', options.producers, 1, producersMax),
    consumers: atMost('--consumers', options.consumers, 0, consumersMax),
    singleInFlight: single ? wholeNumber('--in-flight', inFlight ?? String(inFlightDefault), 1) : undefined,
    perSecond: rate === undefined ? undefined : wholeNumber('--rate', rate, 1),
    durability: durability as Durability | undefined,
    warmUpMs: durationMs('--warm-up', options.warmUp),
    durationMs: durationMs('--duration', options.duration),
    bytesMax: wholeNumber('--max-bytes', options.maxBytes, 1),
  }
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

/** Runs with the topic that was named, or with one of its own, which is deleted whatever happens. */
async function withTopic(
  client: Client,
  { topic }: BenchOptions,
  asked: Asked,
  run: (load: Load) => Promise<void>,
): Promise<void> {
  if (topic !== undefined) {
    const { config } = await client.describeTopic(topic)
    return run({ ...asked, topic, partitions: config.partitions })
  }
  const own = `bench-${randomBytes(4).toString('hex')}`
  const { partitions = 1, durability } = asked
  // Nothing is deleted behind the back of a consumer: how much there may be, --max-bytes says.
  await client.createTopic(own, { partitions, durability, retentionBytes: -1, retentionMessages: -1 })
  try {
    await run({ ...asked, topic: own, partitions })
  } finally {
    await deleted(client, own)
  }
}

/** A failure to delete is told, and hides no other. One that somebody else has deleted is gone as well. */
async function deleted(client: Client, topic: string): Promise<void> {
  try {
    await client.deleteTopic(topic)
  } catch (error) {
    if (isRatatoskrError(error, 'RTK_TOPIC_NOT_FOUND')) return
    const code = isRatatoskrError(error) ? error.code : String(error)
    process.stderr.write(`ratatoskr: the topic ${topic} is left: it could not be deleted (${code})\n`)
    process.exitCode = exitCodes.failure
  }
}

async function measured(load: Load, options: BenchOptions, signal: AbortSignal): Promise<RunResult> {
  const { runLoad } = await import('../bench/run.ts')
  const clients: Client[] = []
  const open = async (): Promise<Client> => {
    const client = await openClient(options)
    clients.push(client)
    return client
  }
  const progress = new Progress(`bench ${load.topic}`)
  try {
    const result = await runLoad(load, open, signal, (published, elapsedMs) =>
      progress.update(`${Math.round(elapsedMs / 1_000)} s, ${published} messages`),
    )
    progress.finish(`${result.sent} messages published`)
    return result
  } finally {
    await Promise.all(clients.map((client) => client.close()))
  }
}

async function report(load: Load, result: RunResult, options: BenchOptions): Promise<void> {
  const { lost, duplicated, disordered, damaged } = result.findings
  const { seconds, latencyMs, acknowledgedMs, publishedPerSecond, deliveredPerSecond } = result
  const messagesPerSecond = Math.round(load.consumers === 0 ? publishedPerSecond : deliveredPerSecond)
  const table = options.output === 'table'
  await printRecord(
    {
      topic: load.topic,
      transport: new URL(options.url).protocol.slice(0, -1),
      messages: load.singleInFlight === undefined ? 'in batches' : 'one by one',
      payloadBytes: load.payloadBytes,
      producers: load.producers,
      consumers: load.consumers,
      seconds: rounded(seconds),
      ...(load.perSecond === undefined ? {} : { ratePerSecond: load.perSecond }),
      messagesPerSecond,
      publishedPerSecond: Math.round(publishedPerSecond),
      megabytesPerSecond: rounded((messagesPerSecond * load.payloadBytes) / 1e6),
      ...(latencyMs === undefined ? {} : latencyFields('latencyMs', latencyMs, table)),
      ...(acknowledgedMs === undefined ? {} : latencyFields('acknowledgedMs', acknowledgedMs, table)),
      // Of the whole run, before and after the window too.
      published: result.sent,
      delivered: result.findings.received,
      lost,
      duplicated,
      disordered,
      damaged,
      cpuSeconds: rounded(result.cpuSeconds),
      ...(load.perSecond === undefined ? { loopBusyPercent: Math.round(result.loopBusy * 100) } : {}),
    },
    options.output,
  )
  remark(load, result)
  const harm = lost + duplicated + disordered + damaged
  if (harm === 0) return
  process.stderr.write(`ratatoskr: ${harm} messages were lost, came twice, late or damaged\n`)
  process.exitCode = exitCodes.failure
}

/** What one should know about the figures before one believes them. */
function remark(load: Load, { loopBusy, isSpent, seconds, publishedPerSecond }: RunResult): void {
  if (isSpent) {
    process.stderr.write(
      `ratatoskr: ended after ${rounded(seconds)} s, with ${load.bytesMax} bytes published: --max-bytes sets how many\n`,
    )
  }
  if (load.perSecond !== undefined) {
    if (publishedPerSecond >= load.perSecond * rateReached) return
    process.stderr.write(
      `ratatoskr: ${Math.round(publishedPerSecond)} messages a second were published instead of ${load.perSecond}: latencies hold the delay of those that were overdue\n`,
    )
  } else if (loopBusy > loopBusyMax) {
    const percent = Math.round(loopBusy * 100)
    process.stderr.write(
      `ratatoskr: this process was ${percent} % busy: it is what was measured, not the broker; run several at the same time (${availableParallelism()} processors here)\n`,
    )
  }
}

/** One column for each in a table; one object in JSON. */
const latencyFields = (name: string, latency: Latency, table: boolean): object =>
  table
    ? Object.fromEntries(Object.entries(latency).map(([part, ms]) => [`${name}.${part}`, ms]))
    : { [name]: latency }

const rounded = (value: number): number => Number(value.toPrecision(4))

/**
 * Publishes without pause while things are broken, then reads everything back and asserts what the broker promised:
 * nothing acknowledged is missing, nothing is stored twice, and each producer's messages stand in the order it gave them.
 */
import { type Client, isRatatoskrError } from 'ratatoskr/client'
import { type PublishReceipt, utf8Text } from 'ratatoskr/ports'

/** Who publishes, who reads back, and what is broken meanwhile. */
export interface ChaosOptions {
  readonly topic: string
  /** Opens a producer's client; one producer for each. Opened anew when a client is lost. */
  readonly producers: readonly (() => Promise<ChaosClient>)[]
  /** Opens the client that reads everything back at the end. */
  readonly reader: () => Promise<ChaosClient>
  /** What is done while the producers run: break something, wait, mend it. The workload ends when it settles. */
  readonly chaos: (progress: ChaosProgress) => Promise<void>
  /** Publishes that one producer has under way; 50 by default. */
  readonly inFlightMax?: number
  readonly payloadBytes?: number
}

export type ChaosClient = Pick<Client, 'publish' | 'subscribe' | 'offsets' | 'close'>

interface ChaosProgress {
  /** Messages acknowledged so far. */
  readonly acked: number
  /** Resolves when so many more were acknowledged: to break things under load and not before it. */
  ackedMore(count: number): Promise<void>
}

/** What was tried, acknowledged and found stored. */
export interface ChaosReport {
  readonly attempted: number
  readonly acked: number
  /** Publishes that were not acknowledged; each may be stored or not. */
  readonly failed: number
  readonly stored: number
  /** Codes of the failures, and how often each came. */
  readonly failures: Readonly<Record<string, number>>
}

/** What a producer did: the publishes by their number, and the receipts it got. */
export interface ProducerLog {
  readonly name: string
  attempted: number
  readonly acked: Map<number, PublishReceipt>
  readonly failures: Record<string, number>
}

/** @throws Error that names what was lost, doubled or out of order */
export async function chaosTest(options: ChaosOptions): Promise<ChaosReport> {
  const run = new Workload(options.topic, options.inFlightMax ?? 50, options.payloadBytes ?? 64)
  const producers = options.producers.map((connect, i) => run.produce(`producer-${i}`, connect))
  try {
    await options.chaos(run)
  } finally {
    run.end()
    await Promise.all(producers)
  }
  const reader = await options.reader()
  try {
    const stored = await readAll(reader, options.topic)
    assertPromises(run.logs, stored)
    return reportOf(run.logs, stored.length)
  } finally {
    await reader.close()
  }
}

/** Producers that publish numbered messages until they are told to end. */
export class Workload implements ChaosProgress {
  readonly logs: ProducerLog[] = []
  readonly #topic: string
  readonly #inFlightMax: number
  readonly #filler: string
  #acked = 0
  #waiting: { readonly at: number; readonly resolve: () => void }[] = []
  readonly #ended = Promise.withResolvers<void>()
  #over = false

  constructor(topic: string, inFlightMax: number, payloadBytes: number) {
    this.#topic = topic
    this.#inFlightMax = inFlightMax
    this.#filler = '.'.repeat(payloadBytes)
  }

  get acked(): number {
    return this.#acked
  }

  ackedMore(count: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ at: this.#acked + count, resolve }))
  }

  end(): void {
    this.#over = true
    this.#ended.resolve()
  }

  /** Publishes as one producer until the end. */
  async produce(name: string, connect: () => Promise<ChaosClient>): Promise<void> {
    const log: ProducerLog = { name, attempted: 0, acked: new Map(), failures: {} }
    this.logs.push(log)
    let client: ChaosClient | undefined
    const inFlight = new Set<Promise<void>>()
    while (!this.#over) {
      try {
        client ??= await connect()
      } catch (error) {
        count(log, error)
        await Promise.race([turn(), this.#ended.promise])
        continue
      }
      const sequence = log.attempted++
      const publishing = this.#publish(client, log, sequence).then((ok) => {
        inFlight.delete(publishing)
        if (ok) return
        void client?.close()
        client = undefined
      })
      inFlight.add(publishing)
      if (inFlight.size >= this.#inFlightMax) await Promise.race(inFlight)
      // In one process and memory everything may settle without the event loop having turned: timers need their chance.
      if (sequence % 64 === 0) await new Promise((resolve) => setImmediate(resolve))
      // A lost client is replaced when everything given to it is settled: two at once could store out of order.
      if (client === undefined) await Promise.all(inFlight)
    }
    await Promise.all(inFlight)
    await client?.close()
  }

  async #publish(client: ChaosClient, log: ProducerLog, sequence: number): Promise<boolean> {
    try {
      const receipt = await client.publish(this.#topic, `${log.name}:${sequence}:${this.#filler}`)
      log.acked.set(sequence, receipt)
      this.#acked++
      for (const waiter of this.#waiting) if (waiter.at <= this.#acked) waiter.resolve()
      this.#waiting = this.#waiting.filter(({ at }) => at > this.#acked)
      return true
    } catch (error) {
      count(log, error)
      // Passing failures of a component leave the client whole; a client that is over must be replaced.
      return !(isRatatoskrError(error) && ['RTK_DISCONNECTED', 'RTK_CLOSED'].includes(error.code))
    }
  }
}

/** Lets others run, I/O included, before the next attempt to connect. */
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

function count(log: ProducerLog, error: unknown): void {
  const code = isRatatoskrError(error) ? error.code : String(error)
  log.failures[code] = (log.failures[code] ?? 0) + 1
}

/** One message as it was found. */
export interface StoredMessage {
  readonly partition: number
  readonly offset: number
  readonly id: string
  readonly producer: string
  readonly sequence: number
}

/** Everything that the topic holds now, or from given offsets on. */
export async function readAll(
  client: Pick<Client, 'subscribe' | 'offsets'>,
  topic: string,
  from: ReadonlyMap<number, number> = new Map(),
): Promise<StoredMessage[]> {
  const ends = new Map(
    (await client.offsets(topic, 'latest')).map(({ partition, offset }) => [partition, offset]),
  )
  const starts = (await client.offsets(topic, 'earliest')).map(({ partition, offset }) => ({
    partition,
    offset: from.get(partition) ?? offset,
  }))
  let left = starts.reduce((sum, { partition, offset }) => sum + (ends.get(partition) as number) - offset, 0)
  const stored: StoredMessage[] = []
  if (left === 0) return stored
  await using subscription = await client.subscribe(topic, { from: { offsets: starts } })
  for await (const message of subscription) {
    const [producer, sequence] = utf8Text(message.payload).split(':', 2)
    const { partition, offset, id } = message
    stored.push({ partition, offset, id, producer, sequence: Number(sequence) })
    if (--left === 0) break
  }
  return stored
}

/** @throws Error that names the first broken promise of each kind */
export function assertPromises(logs: readonly ProducerLog[], stored: readonly StoredMessage[]): void {
  const problems = [
    ...missing(logs, stored),
    ...doubled(stored),
    ...reordered(stored),
    ...invented(logs, stored),
  ]
  if (problems.length > 0)
    throw new Error(`${problems.length} broken promises, such as:\n${problems.slice(0, 10).join('\n')}`)
}

function* missing(logs: readonly ProducerLog[], stored: readonly StoredMessage[]): Generator<string> {
  const found = new Map(stored.map((message) => [keyOf(message.producer, message.sequence), message]))
  for (const { name, acked } of logs) {
    for (const [sequence, { partition, offset, id }] of acked) {
      const message = found.get(keyOf(name, sequence))
      if (message === undefined) yield `${name} ${sequence} was acknowledged and is missing`
      else if (message.partition !== partition || message.offset !== offset || message.id !== id)
        yield `${name} ${sequence} was acknowledged at ${partition}/${offset} as ${id} and is elsewhere`
    }
  }
}

function* doubled(stored: readonly StoredMessage[]): Generator<string> {
  const seen = new Set<string>()
  for (const { producer, sequence } of stored) {
    const key = keyOf(producer, sequence)
    if (seen.has(key)) yield `${producer} ${sequence} is stored twice`
    seen.add(key)
  }
}

function* reordered(stored: readonly StoredMessage[]): Generator<string> {
  const last = new Map<string, number>()
  for (const { partition, producer, sequence } of stored) {
    const stream = `${producer} in partition ${partition}`
    const before = last.get(stream) ?? -1
    if (sequence < before) yield `${stream}: ${sequence} stands after ${before}`
    last.set(stream, sequence)
  }
}

function* invented(logs: readonly ProducerLog[], stored: readonly StoredMessage[]): Generator<string> {
  const attempted = new Map(logs.map((log) => [log.name, log.attempted]))
  for (const { producer, sequence } of stored) {
    if (!(sequence < (attempted.get(producer) ?? 0))) yield `${producer} ${sequence} was never published`
  }
}

const keyOf = (producer: string, sequence: number): string => `${producer}:${sequence}`

function reportOf(logs: readonly ProducerLog[], stored: number): ChaosReport {
  const failures: Record<string, number> = {}
  for (const log of logs)
    for (const [code, times] of Object.entries(log.failures)) failures[code] = (failures[code] ?? 0) + times
  const attempted = logs.reduce((sum, log) => sum + log.attempted, 0)
  const acked = logs.reduce((sum, { acked }) => sum + acked.size, 0)
  return { attempted, acked, failed: attempted - acked, stored, failures }
}

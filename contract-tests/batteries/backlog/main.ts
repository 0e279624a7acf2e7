/**
 * Consumers that stand still while millions of messages come in behind them:
 * `npm run test:backlog -- --messages 10000000 --bytes 100 --report backlog.json --planted`.
 *
 * A broker in a process of its own, on disk. A subscriber, a member of a stream group and a member of a queue group with
 * leases out stop reading, and another queue group has no members at all; then the messages are published. What the broker
 * takes in memory may not grow with them, its event loop stays quick, every lag is exact, and in the end all of them drain,
 * each message once. Only a backlog that is larger than what memory may grow by proves anything.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { nodePlatform } from 'ratatoskr/adapters/node'
import { type BatchSubscription, type Client, connect } from 'ratatoskr/client'
import { BatchBuilder } from 'ratatoskr/ports'
import { Battery, parseOptions, wholeNumber } from '../harness/battery.ts'
import { brokenPromise, findPlanted } from '../harness/planted-cases.ts'
import { buildIsCurrent, planted, type ServerOptions, ServerProcess } from '../harness/server-process.ts'

const MIB = 1024 * 1024
/** What resident memory may grow by, whatever the number of messages: buffers of connections, caches of the store, slack of V8. */
const growthBytesMax = 128 * MIB
const loopP99MsMax = 100
/** What is published and deleted first, so that code is compiled and buffers of connections are there. */
const warmUpBytes = 20_000_000
/** Of payload in a batch: batches of small messages hold many, those of large ones are no larger. */
const payloadBytesOfBatch = 100_000
const partitions = 2
const publishesInFlight = 8
const leasesOut = 1_000
const topic = 'backlog'

const values = parseOptions({
  messages: { type: 'string' },
  bytes: { type: 'string' },
  report: { type: 'string' },
  planted: { type: 'boolean' },
})
const payloadBytes = wholeNumber('bytes', values.bytes ?? '100')
const recordsPerBatch = Math.max(1, Math.floor(payloadBytesOfBatch / payloadBytes))
const asked = wholeNumber('messages', values.messages ?? '1000000', recordsPerBatch * partitions)
const messages = asked - (asked % (recordsPerBatch * partitions))
const battery = new Battery(values.report)
const { checksum } = nodePlatform()
const root = await mkdtemp(join(tmpdir(), 'ratatoskr-backlog-'))
process.stdout.write(`backlog: ${messages} messages of ${payloadBytes} bytes\n`)

interface Sample {
  readonly rss: number
  readonly heapUsed: number
  readonly arrayBuffers: number
  readonly loopP99Ms: number
  readonly loopMaxMs: number
}

async function sampleOf(server: ServerProcess): Promise<Sample> {
  const before = server.lines.length
  server.child.kill('SIGUSR2')
  for (let i = 0; i < 2_000; i++) {
    await pause(10)
    const line = server.lines.slice(before).find((one) => one.includes('"backlogProbe"'))
    if (line !== undefined) return JSON.parse(line).backlogProbe
  }
  throw new Error('the broker does not answer the probe')
}

const inMib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`

function makeBatch(): Uint8Array {
  const builder = new BatchBuilder({ checksum })
  const payload = new Uint8Array(payloadBytes).fill(7)
  for (let i = 0; i < recordsPerBatch; i++) builder.add({ payload, timestampMs: Date.now() })
  return builder.build()
}

async function publish(client: Client, to: string, count: number): Promise<void> {
  const batch = makeBatch()
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < count) {
      const partition = (next / recordsPerBatch) % partitions
      next += recordsPerBatch
      await client.publishBatch(to, partition, batch.slice())
    }
  }
  await Promise.all(Array.from({ length: publishesInFlight }, lane))
}

/** Counts what comes of each partition, in order and without a gap. */
class Reader {
  readonly #next = new Array<number>(partitions).fill(0)
  count = 0

  take(partition: number, fromOffset: number, nextOffset: number): void {
    if (fromOffset !== this.#next[partition])
      throw new Error(`partition ${partition}: ${fromOffset} came where ${this.#next[partition]} was due`)
    this.#next[partition] = nextOffset
    this.count += nextOffset - fromOffset
  }
}

/** Reads batches to the end of the backlog. */
async function drainBatches(subscription: BatchSubscription, reader: Reader): Promise<void> {
  for await (const batch of subscription) {
    reader.take(batch.partition, batch.fromOffset, batch.nextOffset)
    batch.ack()
    if (reader.count >= messages) return
  }
}

/** Takes and acknowledges whole deliveries until the group owes nothing. */
async function drainQueue(client: Client, group: string): Promise<number> {
  let count = 0
  while (count < messages) {
    const taken = await client.take(topic, group, { member: 'late', messagesMax: 10_000, waitMs: 5_000 })
    if (taken.batches.length === 0) throw new Error(`${group} stands still after ${count} messages`)
    const settlements = taken.batches.map(({ partition, lease, firstOffset, lastOffset }) => {
      return { partition, lease, from: firstOffset, to: lastOffset + 1, action: 'ack' as const }
    })
    for (const failed of await client.settle(topic, group, settlements, { member: 'late' }))
      if (failed !== undefined) throw failed
    for (const { recordCount } of taken.batches) count += recordCount
  }
  return count
}

/** Waits until so many messages are leased. @throws Error when it is never so many */
async function leasedAre(client: Client, count: number): Promise<void> {
  let leased = -1
  for (let i = 0; i < 200 && leased !== count; i++) {
    await pause(50)
    const described = await client.describeQueue(topic, 'queue')
    leased = described.partitions.reduce((sum, one) => sum + one.inFlight, 0)
  }
  if (leased !== count) throw new Error(`${leased} messages are leased and not ${count}`)
}

async function backlog(name: string, more: Partial<ServerOptions> = {}): Promise<string> {
  const probe = fileURLToPath(new URL('probe.ts', import.meta.url))
  const { nodeArgs = [], ...others } = more
  await using server = await ServerProcess.start({
    directory: join(root, name),
    built: buildIsCurrent(),
    nodeArgs: ['--expose-gc', '--import', probe, ...nodeArgs],
    ...others,
  })
  await using open = new AsyncDisposableStack()
  const client = async (): Promise<Client> => {
    const made = await connect(server.urls.grpc, { timeoutMs: 60_000 })
    open.defer(() => made.close())
    return made
  }
  const [producer, reading, working] = [await client(), await client(), await client()]
  await producer.createTopic('warm-up', { partitions })
  await producer.createTopic(topic, {
    partitions,
    retentionMs: -1,
    retentionBytes: -1,
    retentionMessages: -1,
  })
  await publish(producer, 'warm-up', Math.ceil(warmUpBytes / payloadBytes))
  await producer.deleteTopic('warm-up')

  const single = await reading.batches(topic, { from: 'earliest', prefetchBytes: 64 * 1024 })
  const grouped = await reading.batches(topic, { group: 'stream', prefetchBytes: 64 * 1024 })
  await working.createQueue(topic, 'nobody')
  let release = (): void => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  let worked = 0
  const workedAll = Promise.withResolvers<void>()
  const work = await working.subscribe(
    topic,
    (): Promise<void> | undefined => {
      if (++worked === messages) workedAll.resolve()
      return worked <= leasesOut ? held : undefined
    },
    { group: 'queue', sharing: 'shared', maxInFlight: leasesOut, concurrency: leasesOut },
  )
  void work.closed.then((reason) => workedAll.reject(reason ?? new Error('the subscription was closed')))
  workedAll.promise.catch(() => {})

  const before = await sampleOf(server)
  const begunMs = performance.now()
  await publish(producer, topic, messages)
  const publishSeconds = (performance.now() - begunMs) / 1_000
  const after = await sampleOf(server)

  const expected = { stream: messages, queue: messages, nobody: messages }
  const lags = {
    stream: (await producer.describeGroup(topic, 'stream')).lag,
    queue: (await producer.describeQueue(topic, 'queue')).lag,
    nobody: (await producer.describeQueue(topic, 'nobody')).lag,
  }
  if (JSON.stringify(lags) !== JSON.stringify(expected)) throw new Error(`lags are ${JSON.stringify(lags)}`)
  await leasedAre(producer, leasesOut)
  // What was freed before may be used again without the process growing: so what is in use counts as well.
  const usedBytes = ({ heapUsed, arrayBuffers }: Sample): number => heapUsed + arrayBuffers
  const grown = Math.max(after.rss - before.rss, usedBytes(after) - usedBytes(before))
  const told = `broker ${inMib(before.rss)} → ${inMib(after.rss)}, heap ${inMib(before.heapUsed)} → ${inMib(after.heapUsed)}, buffers ${inMib(before.arrayBuffers)} → ${inMib(after.arrayBuffers)}; loop p99 ${after.loopP99Ms.toFixed(1)} ms, max ${after.loopMaxMs.toFixed(0)} ms; published at ${Math.round(messages / publishSeconds / 1_000)}k/s`
  if (grown > growthBytesMax) throw new Error(`memory grew by ${inMib(grown)}: ${told}`)
  if (after.loopP99Ms > loopP99MsMax) throw new Error(`the event loop is late: ${told}`)

  const drainMs = performance.now()
  release()
  const readers = [new Reader(), new Reader()]
  await Promise.all([
    drainBatches(single, readers[0]),
    drainBatches(grouped, readers[1]),
    drainQueue(working, 'nobody'),
    workedAll.promise,
  ])
  await work.flush()
  await grouped.close()
  if (worked !== messages) throw new Error(`${worked} messages were handled and not ${messages}`)
  for (const [group, describe] of [
    ['stream', producer.describeGroup(topic, 'stream')],
    ['queue', producer.describeQueue(topic, 'queue')],
    ['nobody', producer.describeQueue(topic, 'nobody')],
  ] as const) {
    const { lag } = await describe
    if (lag !== 0) throw new Error(`${group} has a lag of ${lag} in the end`)
  }
  const end = await sampleOf(server)
  const drained = end.rss - before.rss
  if (drained > 2 * growthBytesMax)
    throw new Error(`memory grew by ${inMib(drained)} while draining: ${told}`)
  const drainSeconds = (performance.now() - drainMs) / 1_000
  return `${told}; drained four times in ${drainSeconds.toFixed(0)} s, then ${inMib(end.rss)}`
}

/** The planted bug must be found. */
async function findBug(bug: string): Promise<string> {
  const broken = await brokenPromise(() => backlog(bug.replaceAll(' ', '-'), planted(bug)), /memory grew by/)
  if (broken === undefined) throw new Error(`not found by ${messages} messages`)
  return `found: ${broken}`
}

try {
  await battery.run(`${messages} messages behind consumers that stand still`, () => backlog('data'))
  if (values.planted === true) await findPlanted(battery, 'backlog', findBug)
} finally {
  await rm(root, { recursive: true, force: true })
}
await battery.finish()

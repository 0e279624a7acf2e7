/**
 * How soon all is as it was after a server has ended, and that it is all: `npm run test:recovery -- --rounds 20 --seed 7
 * --report recovery.json`.
 *
 * One server under load is killed, stopped, and killed with half a batch left at the end of each log, in turns; it comes back on
 * the same ports. Publishers and members of a queue group find back by themselves. Of each end is measured how long the process
 * and the broker in it take to start, and when the first message is acknowledged and handled again, from the end on. What was
 * acknowledged must stand where its receipt says, once, and be handled in the end; a commit that was answered must hold.
 */
import { createHash } from 'node:crypto'
import { appendFile, glob, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { type Client, connect } from 'ratatoskr/client'
import { utf8Text } from 'ratatoskr/ports'
import { sampleBatch } from '../../batches.ts'
import { seededDraw } from '../../seeded-draw.ts'
import { Battery, batteryOptions, summaryOf } from '../harness/battery.ts'
import { freePort } from '../harness/free-port.ts'
import { brokenPromise, findPlanted } from '../harness/planted-cases.ts'
import { tooLate } from '../harness/read-back.ts'
import { buildIsCurrent, planted, type ServerOptions, ServerProcess } from '../harness/server-process.ts'

const ends = ['SIGKILL', 'a clean stop', 'SIGKILL within a write'] as const
type End = (typeof ends)[number]

const topic = 'recovered'
const partitions = 2
const lanes = 8
/** From the end of the server to the first message that is acknowledged, and to the first that is handled. */
const serviceMsMax = 10_000
const roundsToFindABug = 4

const { rounds, seed, report } = batteryOptions({ rounds: 5 })
const battery = new Battery(report)
const random = seededDraw(seed)
const root = await mkdtemp(join(tmpdir(), 'ratatoskr-recovery-'))
process.stdout.write(`recovery: ${rounds} rounds, seed ${seed}\n`)

interface Place {
  readonly partition: number
  readonly offset: number
}

/** Who publishes, who handles, and what they know. */
class Load {
  /** Of each message that was acknowledged, where. */
  readonly acked = new Map<string, Place>()
  readonly handled = new Set<string>()
  readonly #client: Client
  readonly #lanes: Promise<void>[]
  #over = false
  #published = 0
  /** When something was acknowledged, and handled, last; of a publish counts when it began. */
  ackedMs = 0
  handledMs = 0

  constructor(client: Client) {
    this.#client = client
    this.#lanes = Array.from({ length: lanes }, () => this.#publish())
  }

  handle(payload: Uint8Array): void {
    this.handled.add(nameOf(payload))
    this.handledMs = performance.now()
  }

  async end(): Promise<void> {
    this.#over = true
    await Promise.all(this.#lanes)
  }

  async #publish(): Promise<void> {
    while (!this.#over) {
      const name = `m${this.#published++}`
      try {
        const { partition, offset } = await this.#client.publish(topic, name.padEnd(1_024, ' .'), {
          key: name,
        })
        this.acked.set(name, { partition, offset })
        this.ackedMs = performance.now()
      } catch {
        await pause(5) // It may be stored or not: nobody was told.
      }
    }
  }
}

const nameOf = (payload: Uint8Array): string => utf8Text(payload).split(' ', 1)[0]

const connected = (url: string): Promise<Client> =>
  connect(url, {
    reconnect: { baseMs: 10, maxMs: 100 },
    timeoutMs: 30_000,
    platform: nodePlatform({ logger: silentLogger }),
  })

/** Waits until a condition holds. @throws Error when it never does */
async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (const begunMs = performance.now(); !holds(); await pause(1)) {
    if (performance.now() - begunMs > serviceMsMax)
      throw new Error(`broken promises: ${what} within ${serviceMsMax} ms`)
  }
}

/** Half a batch behind each log's last, as a crash in the middle of a write leaves it. */
async function tearEnds(directory: string): Promise<void> {
  const newest = new Map<string, string>()
  for await (const file of glob('logs/*/*/*.log', { cwd: directory })) {
    const log = file.slice(0, file.lastIndexOf('/'))
    const known = newest.get(log)
    if (known === undefined || file > known) newest.set(log, file)
  }
  if (newest.size < partitions) throw new Error(`${newest.size} logs were found, and there are ${partitions}`)
  const batch = sampleBatch({ baseOffset: 0, count: 20 })
  for (const file of newest.values()) {
    await appendFile(join(directory, file), batch.subarray(0, Math.floor(batch.length * random())))
  }
}

/** Times of all ends of one kind, in milliseconds. */
interface Times {
  readonly process: number[]
  readonly broker: number[]
  readonly acknowledged: number[]
  readonly handled: number[]
}

async function options(name: string, more: Partial<ServerOptions>): Promise<ServerOptions> {
  const args: string[] = []
  for (const flag of ['grpc-port', 'websocket-port', 'http-port', 'tcp-port'])
    args.push(`--${flag}`, `${await freePort(random)}`)
  const environment = { NODE_COMPILE_CACHE: join(root, 'compile-cache'), ...more.environment }
  return { directory: join(root, name), args, built: buildIsCurrent(), ...more, environment }
}

async function endOf(server: ServerProcess, how: End, directory: string): Promise<void> {
  if (how === 'a clean stop') {
    const code = await server.stop()
    if (code !== 0) throw new Error(`broken promises: the server that was to stop ended with ${code}`)
  } else await server.crash()
  if (how === 'SIGKILL within a write') await tearEnds(directory)
}

/** One life after the other, each ended in the way that is due; then everything is counted. */
async function lives(name: string, ways: readonly End[], more: Partial<ServerOptions> = {}) {
  const serve = await options(name, more)
  let server = await ServerProcess.start(serve)
  await using open = new AsyncDisposableStack()
  open.defer(() => server[Symbol.asyncDispose]())
  const [producing, working] = [await connected(server.urls.tcp), await connected(server.urls.ws)]
  open.defer(() => producing.close({ timeoutMs: 1_000 }))
  open.defer(() => working.close({ timeoutMs: 1_000 }))
  await producing.createTopic(topic, { partitions, durability: 'fsync' })
  const load = new Load(producing)
  open.defer(() => load.end())
  const group = { group: 'work', sharing: 'shared', retriesMax: -1, from: 'earliest' } as const
  await working.subscribe(topic, ({ payload }) => load.handle(payload), group)
  const times: Times = { process: [], broker: [], acknowledged: [], handled: [] }
  let committed = 0
  for (const how of ways) {
    await eventually('something was published', () => load.acked.size > committed)
    await pause(100 + random() * 400)
    committed = (await producing.offsets(topic, 'latest'))[0].offset
    await producing.commit(topic, 'reader', [{ partition: 0, offset: committed }])
    const endedMs = performance.now()
    await endOf(server, how, serve.directory)
    server = await ServerProcess.start(serve)
    const readyMs = performance.now()
    times.process.push(server.readyMs as number)
    times.broker.push(server.startMs as number)
    await eventually('a publish was acknowledged after the start', () => load.ackedMs > readyMs)
    times.acknowledged.push(load.ackedMs - endedMs)
    await eventually('a message was handled after the start', () => load.handledMs > readyMs)
    times.handled.push(load.handledMs - endedMs)
    const described = await producing.describeGroup(topic, 'reader')
    const found = described.partitions[0].committedOffset
    if (found !== committed) throw new Error(`broken promises: ${committed} was committed, and ${found} is`)
  }
  await load.end()
  await allThere(producing, load)
  return { messages: load.acked.size, times }
}

/** @throws Error when something that was acknowledged is missing, elsewhere, damaged, or not handled */
async function allThere(client: Client, load: Load): Promise<void> {
  if (load.acked.size === 0) throw new Error('nothing was published: there was nothing to lose')
  const stored = new Map<string, string>()
  for (let partition = 0; partition < partitions; partition++) {
    for (let offset = 0; ; ) {
      const found = await client.fetch(topic, { partition, offset, max: 5_000 })
      for (const message of found) {
        const name = nameOf(message.payload)
        if (utf8Text(message.payload) !== name.padEnd(1_024, ' .'))
          throw new Error(`broken promises: ${name} is damaged`)
        stored.set(`${message.partition}/${message.offset}`, name)
      }
      if (found.length === 0) break
      offset = found[found.length - 1].offset + 1
    }
  }
  const lost = [...load.acked].filter(
    ([name, { partition, offset }]) => stored.get(`${partition}/${offset}`) !== name,
  )
  if (lost.length > 0) {
    throw new Error(
      `broken promises: ${lost.length} of ${load.acked.size} are not where they were acknowledged, such as ${lost[0][0]}`,
    )
  }
  const missing = (): number => [...load.acked.keys()].filter((name) => !load.handled.has(name)).length
  await Promise.race([
    (async () => {
      while (missing() > 0) await pause(20)
    })(),
    tooLate(30_000, 'broken promises: not everything was handled'),
  ])
}

async function measured(how: End): Promise<{ readonly detail: string; readonly figures: object }> {
  const name = createHash('sha256').update(how).digest('hex').slice(0, 8)
  const { messages, times } = await lives(name, Array<End>(rounds).fill(how))
  const figures = Object.fromEntries(
    Object.entries(times).map(([what, all]: [string, number[]]) => {
      const { p50, p99, max } = summaryOf(all)
      return [`${what}Ms`, { p50, p99, max, runs: all.length }]
    }),
  )
  const acknowledged = summaryOf(times.acknowledged)
  return { detail: `${messages} messages; acknowledged again after ${acknowledged.text}`, figures }
}

/** The planted bug must be found. */
async function findBug(bug: string): Promise<string> {
  const ways = Array<End>(roundsToFindABug).fill('SIGKILL')
  const broken = await brokenPromise(
    () => lives(bug.replaceAll(' ', '-'), ways, planted(bug)),
    /broken promises/,
  )
  if (broken === undefined) throw new Error(`not found by ${roundsToFindABug} ends`)
  return `found: ${broken}`
}

try {
  for (const how of ends) await battery.run(`recovery from ${how}`, () => measured(how))
  await battery.run('recovery from all of them in turns', async () => {
    const { messages } = await lives(
      'turns',
      Array.from({ length: rounds }, (_, i) => ends[i % ends.length]),
    )
    return `${messages} messages`
  })
  await findPlanted(battery, 'recovery', findBug)
} finally {
  await rm(root, { recursive: true, force: true })
}
await battery.finish()

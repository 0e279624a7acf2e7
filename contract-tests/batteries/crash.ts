/**
 * Kills a server under load with SIGKILL, starts it again on the same directory, and reads back what it acknowledged:
 * `npm run test:crash -- --rounds 20 --seed 7 --report crash.json`.
 *
 * Producers over all three transports write to a topic of each durability. After every kill nothing acknowledged may
 * be missing, stand elsewhere, stand twice, or stand out of its producer's order. Every fourth round the server is
 * killed a second time, while it recovers.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Client, connect } from 'ratatoskr/client'
import type { Durability } from 'ratatoskr/ports'
import { assertPromises, type ProducerLog, readAll, Workload } from '../testing/chaos.ts'
import { Battery, batteryOptions, seededRandom } from './battery.ts'
import { ServerProcess } from './server-process.ts'

const levels: readonly Durability[] = ['os', 'interval', 'fsync']
const schemes = ['grpc', 'ws', 'http']
const loadMs = { min: 200, max: 700 }
const { rounds, seed, report } = batteryOptions({ rounds: 20 })

/** A topic, what was published to it, and how far it was read back. */
interface CrashTopic {
  readonly name: string
  readonly logs: ProducerLog[]
  /** Producers of the last round, which are not verified yet. */
  fresh: ProducerLog[]
  readonly verified: Map<number, number>
}

const battery = new Battery(report)
const random = seededRandom(seed)
const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-crash-'))
const topics = levels.map(
  (level): CrashTopic => ({
    name: `crash-${level}`,
    logs: [],
    fresh: [],
    verified: new Map(),
  }),
)
process.stdout.write(`crash: ${rounds} rounds, seed ${seed}\n`)

const open = (server: ServerProcess, scheme: string): Promise<Client> =>
  connect(server.urls[scheme], { reconnect: false, timeoutMs: 10_000 })

/** One life of the server: verify what the life before left, load it, kill it. */
async function live(round: number): Promise<string> {
  await using server = await ServerProcess.start({ directory })
  await (round === 0 ? createTopics(server) : verify(server))
  const loads = topics.map((topic) => ({ topic, load: new Workload(topic.name, 64, 100 + round * 10) }))
  const producers = loads.flatMap(({ load }) =>
    schemes.map((scheme) => load.produce(`${scheme}-${round}`, () => open(server, scheme))),
  )
  // The kill comes under load: not before every topic has acknowledged something.
  await Promise.all(loads.map(({ load }) => load.ackedMore(1)))
  await pause(loadMs.min + random() * (loadMs.max - loadMs.min))
  server.child.kill('SIGKILL')
  for (const { load } of loads) load.end()
  await Promise.all([server.exited, ...producers])
  for (const { topic, load } of loads) {
    topic.fresh = load.logs
    topic.logs.push(...load.logs)
  }
  if (round % 4 === 3) await killWhileItRecovers()
  const acked = loads.reduce((sum, { load }) => sum + load.acked, 0)
  return `${acked} acknowledged`
}

async function createTopics(server: ServerProcess): Promise<void> {
  await using client = await open(server, 'grpc')
  for (const [i, { name }] of topics.entries()) {
    // Small segments, so that kills fall on a roll as well.
    await client.createTopic(name, { partitions: 3, durability: levels[i], segmentBytes: 256 * 1024 })
  }
}

/** Reads what the life before has written, over a transport of its own for each topic. */
async function verify(server: ServerProcess): Promise<void> {
  for (const [i, topic] of topics.entries()) {
    await using client = await open(server, schemes[i])
    const stored = await readAll(client, topic.name, topic.verified)
    assertPromises(topic.fresh, stored)
    for (const { partition, offset } of stored) topic.verified.set(partition, offset + 1)
  }
}

async function killWhileItRecovers(): Promise<void> {
  const server = ServerProcess.spawn({ directory })
  await Promise.race([server.ready, pause(100 + random() * 400)])
  server.ready.catch(() => undefined)
  await server.crash()
}

/** Reads everything from the beginning, and asks the server to stop as it should. */
async function verifyAll(): Promise<string> {
  await using server = await ServerProcess.start({ directory })
  await verify(server)
  let messages = 0
  for (const topic of topics) {
    await using client = await open(server, 'ws')
    const stored = await readAll(client, topic.name)
    assertPromises(topic.logs, stored)
    messages += stored.length
  }
  const code = await server.stop()
  if (code !== 0) throw new Error(`the server exited with ${code}:\n${server.lines.join('\n')}`)
  return `${messages} messages`
}

try {
  for (let round = 0; round < rounds; round++) {
    if (!(await battery.run(`round ${round + 1}: kill -9 under load`, () => live(round)))) break
  }
  await battery.run('everything, from the beginning', verifyAll)
} finally {
  await rm(directory, { recursive: true, force: true })
}
await battery.finish()

/**
 * Kills a server under four queue groups of four members each, again and again, and asks whether all work was done:
 * `npm run test:queue-crash -- --rounds 100 --seed 7 --report queue-crash.json`.
 *
 * Publishers and members use WebSocket and gRPC, and come back by themselves. In the end every message that was acknowledged
 * to its publisher must have been handled by every group; a message that was handled and comes again must be flagged as
 * redelivered, and its acknowledgement must have come shortly before a kill; the messages of a key stay in order where the
 * group says so.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { seededDraw } from '../../seeded-draw.ts'
import { Battery, batteryOptions } from '../harness/battery.ts'
import { freePort } from '../harness/free-port.ts'
import { brokenPromise, findPlanted } from '../harness/planted-cases.ts'
import { tooLate } from '../harness/read-back.ts'
import { buildIsCurrent, planted, type ServerOptions, ServerProcess } from '../harness/server-process.ts'
import { type Crash, Ledger } from './ledger.ts'
import { type GroupPlan, join, lastingClient, Publisher, topicName } from './members.ts'

const schemes = ['ws', 'grpc']
const membersOfGroup = 4
const publishers = 4
const finishMsMax = 60_000
const killsToFindABug = 4
const groups: readonly GroupPlan[] = [
  { name: 'partitioned', sharing: 'partitioned' },
  { name: 'shared', sharing: 'shared' },
  { name: 'by-key', sharing: 'keyShared' },
  { name: 'by-key-too', sharing: 'keyShared' },
]
const ordered = new Set(groups.filter(({ sharing }) => sharing !== 'shared').map(({ name }) => name))

const { rounds, seed, report } = batteryOptions({ rounds: 5 })
const battery = new Battery(report)
const random = seededDraw(seed)
const root = await mkdtemp(joinPath(tmpdir(), 'ratatoskr-queue-crash-'))
process.stdout.write(`queue-crash: ${rounds} kills, seed ${seed}\n`)

/** Servers that come back on the same ports. */
async function serverOptions(name: string, more: Partial<ServerOptions>): Promise<ServerOptions> {
  const args: string[] = []
  for (const flag of ['grpc-port', 'websocket-port', 'http-port', 'tcp-port'])
    args.push(`--${flag}`, `${await freePort(random)}`)
  const environment = { NODE_COMPILE_CACHE: joinPath(root, 'compile-cache'), ...more.environment }
  return { directory: joinPath(root, name), args, built: buildIsCurrent(), ...more, environment }
}

async function run(name: string, kills: number, more: Partial<ServerOptions> = {}): Promise<string> {
  const options = await serverOptions(name, more)
  let server = await ServerProcess.start(options)
  const ledger = new Ledger()
  await using open = new AsyncDisposableStack()
  open.defer(() => server[Symbol.asyncDispose]())
  const client = async (number: number) => {
    const made = await lastingClient(server.urls[schemes[number % schemes.length]])
    open.defer(() => made.close())
    return made
  }
  const first = await client(0)
  await first.createTopic(topicName, { partitions: 6 })
  for (const [number, group] of groups.entries()) {
    for (let member = 0; member < membersOfGroup; member++) {
      await join(await client(number + member), group, `m${member}`, ledger, random)
    }
  }
  const producing: Publisher[] = []
  for (let i = 0; i < publishers; i++) producing.push(new Publisher(await client(i), `p${i}`, ledger, random))
  for (let round = 0; round < kills; round++) {
    const before = ledger.handlings.length
    // Some lives are longer than what a crash may repeat.
    await pause(300 + random() * 1_500 + (round % 3 === 2 ? 3_000 : 0))
    if (round > 0 && ledger.handlings.length === before) await moreHandled(ledger, before)
    const crash: Crash = { killedMs: performance.now(), readyMs: Number.POSITIVE_INFINITY }
    ledger.crashes.push(crash)
    await server.crash()
    server = await ServerProcess.start(options)
    crash.readyMs = performance.now()
  }
  await Promise.all(producing.map((one) => one.end()))
  await finished(ledger)
  const problems = [
    ...ledger.problems(
      groups.map(({ name }) => name),
      ordered,
    ),
  ]
  if (problems.length > 0) {
    throw new Error(`${problems.length} broken promises, such as:\n${problems.slice(0, 10).join('\n')}`)
  }
  if (ledger.acked.size === 0) throw new Error('nothing was published: there was nothing to lose')
  const refused = producing.reduce((sum, one) => sum + one.refused, 0)
  return `${ledger.acked.size} messages to ${groups.length} groups, ${refused} publishes refused, ${ledger.duplicates} came twice`
}

/** Members must find back to the server. */
async function moreHandled(ledger: Ledger, before: number): Promise<void> {
  for (let waitedMs = 0; ledger.handlings.length === before; waitedMs += 50) {
    if (waitedMs > 20_000) throw new Error('20 s after a restart nothing was handled yet')
    await pause(50)
  }
}

/** Waits until every group has handled everything. */
async function finished(ledger: Ledger): Promise<void> {
  const late = tooLate(finishMsMax, 'not everything was handled').catch((error: Error) => {
    const left = groups.map(({ name }) => `${ledger.missing(name).length} of ${name}`)
    throw new Error(`${error.message}: missing are ${left.join(', ')}, such as ${missingOne(ledger)}`)
  })
  const all = async (): Promise<void> => {
    while (groups.some(({ name }) => ledger.missing(name).length > 0)) await pause(100)
  }
  await Promise.race([all(), late])
}

function missingOne(ledger: Ledger): string {
  for (const { name } of groups) {
    const [missing] = ledger.missing(name)
    const receipt = missing === undefined ? undefined : ledger.acked.get(missing)
    if (receipt !== undefined) return `${missing} at ${receipt.partition}/${receipt.offset} of ${name}`
  }
  return 'none'
}

/** The planted bug must be found. */
async function findBug(bug: string): Promise<string> {
  const directory = bug.replaceAll(' ', '-')
  const broken = await brokenPromise(
    () => run(directory, killsToFindABug, planted(bug)),
    /broken promises|not everything was handled/,
  )
  if (broken === undefined) throw new Error(`not found by ${killsToFindABug} kills`)
  return `found: ${broken}`
}

try {
  await battery.run('kill -9 under four groups of four members', () => run('data', rounds))
  await findPlanted(battery, 'queue-crash', findBug)
} finally {
  await rm(root, { recursive: true, force: true })
}
await battery.finish()

/**
 * Kills servers under load with SIGKILL, starts them again on the same directory, and reads back what they acknowledged:
 * `npm run test:crash -- --rounds 100 --lanes 2 --seed 7 --report crash.json`.
 *
 * Producers over all three transports write to a topic of each durability, a client that lives through all of it publishes
 * again what was not acknowledged, and another makes, alters and deletes topics and commits offsets. The kill comes 0 to
 * 400 ms after the first acknowledgement, half of the time within 50 ms; after every fourth another comes while the server
 * recovers. Nothing acknowledged may be missing, stand elsewhere, stand twice, or stand out of its producer's order.
 *
 * At first one server alone is killed and started again: its broker must be ready within a second, recovery included, and on
 * a machine that has more to do than processors for it, within as much more as it has to wait for its turn. How long the
 * process takes, with Node and the loading of modules, is held to a second only while the machine has nothing else to do.
 *
 * Servers run from the build when it is there and no source is younger, otherwise from the sources; either way with Node's
 * compile cache, which is filled before the first kill.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { seededDraw } from '../../seeded-draw.ts'
import { Battery, batteryOptions, summaryOf } from '../harness/battery.ts'
import { brokenPromise, findPlanted } from '../harness/planted-cases.ts'
import { buildIsCurrent, planted, type ServerOptions, ServerProcess } from '../harness/server-process.ts'
import { CrashLane } from './lane.ts'

/** From the start of the broker in its process. */
const readyMsP99Max = 1_000
/** From the start of the process, Node itself and the modules of all adapters included. */
const processMsP99Max = 1_000
const readySamplesMin = 10
const { rounds, seed, report, lanes: laneCount } = batteryOptions({ rounds: 100, lanes: 2 })
const battery = new Battery(report)
const root = await mkdtemp(join(tmpdir(), 'ratatoskr-crash-'))
const built = buildIsCurrent()
const environment = { NODE_COMPILE_CACHE: join(root, 'compile-cache') }
process.stdout.write(
  `crash: ${rounds} kills in ${laneCount} lanes, seed ${seed}, servers run from ${built ? 'the build' : 'the sources'}\n`,
)

const lane = (name: string, number: number, server: Partial<ServerOptions> = {}): CrashLane =>
  new CrashLane({
    name,
    server: { directory: join(root, name), environment, built, ...server },
    random: seededDraw(seed + number),
  })

/** Lives until the lane has its share. */
async function liveUntil(one: CrashLane, isDone: () => boolean): Promise<void> {
  await using _lane = one
  while (!isDone()) {
    const before = one.kills
    await one.live().catch((error: Error) => {
      throw new Error(`after ${before} kills: ${error.message}`, { cause: error })
    })
  }
  await one.finish()
}

async function run(one: CrashLane, kills: number): Promise<string> {
  await liveUntil(one, () => one.kills >= kills)
  const { acked, stored, stateChanges, retries } = one
  const told = `${one.kills} kills, ${acked} acknowledged, ${stored} stored, ${stateChanges} changes of state, ${retries} retries`
  if (acked === 0 || stored === 0 || stateChanges === 0) throw new Error(`there was nothing to lose: ${told}`)
  return `${told}; ready again: ${timesOf(one.readyMs, one.startMs)}`
}

const timesOf = (readyMs: readonly number[], startMs: readonly number[]): string =>
  `broker ${summaryOf(startMs).text}, process ${summaryOf(readyMs).text}`

/** How soon a server is ready after a kill when nothing else of ours runs. */
async function readyAgain(one: CrashLane): Promise<string> {
  const loadBefore = loadavg()[0]
  // The first start after a kill finds caches cold that no later one finds.
  await liveUntil(one, () => one.startMs.length > Math.max(readySamplesMin, rounds / 10))
  const load = Math.max(loadBefore, loadavg()[0])
  const [readyMs, startMs] = [one.readyMs.slice(1), one.startMs.slice(1)]
  const processors = availableParallelism()
  const atRest = load < processors / 2
  const brokerMsMax = Math.round(readyMsP99Max * Math.max(1, load / processors))
  const limits = `broker ${brokerMsMax} ms, process ${atRest ? `${processMsP99Max} ms` : 'none'}`
  const told = `${timesOf(readyMs, startMs)}; limits at load ${load.toFixed(1)} on ${processors} processors: ${limits}`
  const isLate = summaryOf(startMs).p99 > brokerMsMax || (atRest && summaryOf(readyMs).p99 > processMsP99Max)
  if (isLate) throw new Error(`too late: ${told}`)
  return told
}

/** The planted bug must be found. */
async function findBug(bug: string, number: number): Promise<string> {
  const { environment: bugOnly, ...options } = planted(bug)
  const one = lane(`planted-${number}`, number, { ...options, environment: { ...environment, ...bugOnly } })
  await using _lane = one
  const killsMax = 20
  while (one.kills < killsMax) {
    const broken = await brokenPromise(() => one.live(), /broken promises|problems|the state is/)
    if (broken !== undefined) return `found after ${one.kills} kills: ${broken}`
  }
  throw new Error(`not found by ${killsMax} kills`)
}

try {
  // One that ends as it should leaves its compiled modules for all that follow.
  await using first = await ServerProcess.start({ directory: join(root, 'first'), environment, built })
  await first.stop()

  // Before the lanes: beside them, and in the load of the last minute, they would be what is measured.
  await battery.run('ready again, one server at a time', () => readyAgain(lane('alone', laneCount + 1)))
  const lanes = Array.from({ length: laneCount }, (_, i) => lane(`lane-${i + 1}`, i))
  await Promise.all(
    lanes.map((one, i) => {
      const kills = Math.floor(((i + 1) * rounds) / laneCount) - Math.floor((i * rounds) / laneCount)
      return battery.run(`lane ${i + 1}: kill -9 under load`, () => run(one, kills))
    }),
  )
  await battery.run('kill -9 while the wall clock jumps', () => {
    const nodeArgs = ['--import', fileURLToPath(new URL('clock.ts', import.meta.url))]
    return run(lane('clock', laneCount, { nodeArgs }), Math.max(3, Math.ceil(rounds / 20)))
  })
  await findPlanted(battery, 'crash', (bug, i) => findBug(bug, laneCount + 2 + i))
} finally {
  await rm(root, { recursive: true, force: true })
}
await battery.finish()

/**
 * Fills the disk below a server and frees it again: `npm run test:full-disk -- --rounds 50 --seed 7 --report full.json`.
 *
 * The data lie on a small file system in memory, most of which a ballast file takes. Producers over all three transports
 * publish until they are refused, and go on trying. While the disk is full every refusal must be RTK_STORE_FULL, reads,
 * commits and deletions must work, and a server that is killed must come back and serve reads. Then there is room
 * again, by taking the ballast away or by deleting a topic, and publishing must go on by itself within 5 s. Nothing
 * acknowledged may be missing, stand elsewhere, twice, or out of its producer's order.
 *
 * Needs root, to mount; without, the cases are skipped.
 */
import { seededDraw } from '../../seeded-draw.ts'
import { Battery, batteryOptions, summaryOf } from '../harness/battery.ts'
import { Mounts, ownNamespace } from '../harness/mounts.ts'
import { brokenPromise, findPlanted } from '../harness/planted-cases.ts'
import { buildIsCurrent, planted } from '../harness/server-process.ts'
import { FullDisk } from './round.ts'

const resumeMsMax = 5_000
const reason = await ownNamespace()
const { rounds, seed, report } = batteryOptions({ rounds: 3 })
const battery = new Battery(report)
const random = seededDraw(seed)
process.stdout.write(`full-disk: ${rounds} rounds, seed ${seed}\n`)

async function fillAndFree(mounts: Mounts, frees: 'ballast' | 'deletion', times: number): Promise<string> {
  await using disk = new FullDisk(mounts, { random, built: buildIsCurrent() })
  for (let round = 0; round < times; round++) {
    await disk.round(frees).catch((error: Error) => {
      throw new Error(`round ${round + 1}: ${error.message}`, { cause: error })
    })
  }
  await disk.finish()
  const { acked, refused, resumeMs, startMs } = disk
  if (acked === 0 || refused === 0) {
    throw new Error(`there was nothing to lose: ${acked} acknowledged, ${refused} refused`)
  }
  if (resumeMs.length < times) throw new Error(`publishing went on in ${resumeMs.length} of ${times} rounds`)
  const resume = summaryOf(resumeMs)
  if (resume.max > resumeMsMax) throw new Error(`publishing went on too late: ${resume.text}`)
  return (
    `${acked} acknowledged, ${refused} refused; goes on after ${resume.text}` +
    (startMs.length === 0 ? '' : `; ready on a full disk after ${summaryOf(startMs).text}`)
  )
}

/** The planted bug must be found. */
async function findBug(mounts: Mounts, bug: string): Promise<string> {
  await using disk = new FullDisk(mounts, { random, ...planted(bug) })
  const roundsMax = 6
  for (let round = 0; round < roundsMax; round++) {
    const broken = await brokenPromise(() => disk.round('ballast'), /broken promises|refused with|too late/)
    if (broken !== undefined) return `found in round ${round + 1}: ${broken}`
  }
  throw new Error(`not found in ${roundsMax} rounds`)
}

if (reason !== undefined) {
  battery.skip('fill and free', reason)
} else {
  using mounts = new Mounts()
  await battery.run(`fill and free ${rounds} times`, () => fillAndFree(mounts, 'ballast', rounds))
  const deletions = Math.ceil(rounds / 5)
  await battery.run(`fill and free by deleting, ${deletions} times`, () =>
    fillAndFree(mounts, 'deletion', deletions),
  )
  await findPlanted(battery, 'full-disk', (bug) => findBug(mounts, bug))
}
await battery.finish()

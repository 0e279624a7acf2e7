/**
 * Damages data directories in ten ways and reads them with the real store:
 * `npm run test:corruption -- --rounds 100000 --lanes 2 --seed 7 --report corruption.json`.
 *
 * A round is one mutation of an image (`image.ts`, `mutations.ts`). Every mutation must be harmless or declared, no intact
 * batch may be lost, no wrong byte may come out, no damaged segment may be changed, and `log verify` must not call a directory
 * ok in which something is lost (`verdict.ts`).
 */
import { Battery, batteryOptions } from '../harness/battery.ts'
import { findPlanted } from '../harness/planted-cases.ts'
import { runLane, Tally } from './lanes.ts'
import { mutationKinds } from './mutations.ts'

/** A planted bug must be found within so many rounds. */
const plantedRoundsMax = 3_000

const { rounds, seed, report, lanes } = batteryOptions({ rounds: 5_000, lanes: 2 })
const battery = new Battery(report)
process.stdout.write(`corruption: ${rounds} mutations in ${lanes} lanes, seed ${seed}\n`)

const tally = new Tally()
const begun = performance.now()
const share = (lane: number): number => Math.floor((lane * rounds) / lanes)
const ends = await Promise.allSettled(
  Array.from({ length: lanes }, (_, lane) =>
    runLane({ seed, from: share(lane), to: share(lane + 1) }, tally),
  ),
)
const seconds = (performance.now() - begun) / 1000
const firstLine = (text: string): string => text.split('\n')[0]

await battery.run('all rounds are run', async () => {
  for (const end of ends) if (end.status === 'rejected') throw end.reason
  const done = mutationKinds.reduce((sum, kind) => sum + tally.countOf(kind), 0)
  if (done < rounds) throw new Error(`${done} of ${rounds} rounds were run`)
  return `${done} rounds, ${Math.round(rounds / seconds)} a second`
})
// Kinds take turns: few rounds leave some out, which then prove nothing.
for (const kind of mutationKinds.slice(0, rounds)) {
  await battery.run(kind, async () => {
    const [first, ...more] = tally.failures.filter((failure) => failure.kind === kind)
    if (first === undefined) return tally.lineOf(kind)
    const told = `first round ${first.round} (${first.what}): ${firstLine(first.message)}`
    throw new Error(`${tally.lineOf(kind)}; ${more.length + 1} wrong, ${told}`)
  })
}

/** The planted bug must be found. */
async function findBug(bug: string): Promise<string> {
  const found = new Tally()
  await runLane({ seed, from: 0, to: plantedRoundsMax, bug }, found)
  const [failure] = found.failures
  if (failure === undefined) throw new Error(`not found in ${plantedRoundsMax} mutations`)
  return `found by mutation ${failure.round + 1}: ${firstLine(failure.message).slice(0, 120)}`
}

await findPlanted(battery, 'corruption', findBug, { lanes })
await battery.finish()

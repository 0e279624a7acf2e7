/** The cases of a battery's planted bugs: each of them must be found. */
import type { Battery } from './battery.ts'
import type { BatteryName } from './planted.ts'
import { bugsOf } from './planted-bugs.ts'

/** Runs a case for each planted bug of a battery, so many at a time. @param find throws when it does not find the bug */
export async function findPlanted(
  battery: Battery,
  name: BatteryName,
  find: (bug: string, index: number) => Promise<string>,
  { lanes = 1, title = 'planted' } = {},
): Promise<void> {
  const bugs = bugsOf(name).entries()
  const lane = async (): Promise<void> => {
    for (const [index, bug] of bugs) await battery.run(`${title}: ${bug.name}`, () => find(bug.name, index))
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

/**
 * Does what a bug is to break. Only a promise that is broken counts, as its message says: the battery itself might fail as well.
 * @returns the message in short; undefined when nothing broke
 */
export async function brokenPromise(run: () => Promise<unknown>, says: RegExp): Promise<string | undefined> {
  const error = await run().then(
    () => undefined,
    (reason: Error) => reason,
  )
  if (error === undefined) return undefined
  if (!says.test(error.message)) throw error
  return error.message.replace(/\s+/g, ' ').slice(0, 120)
}

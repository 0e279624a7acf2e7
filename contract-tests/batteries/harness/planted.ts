/**
 * Planted bugs: the battery that a bug belongs to must find it, or the battery proves nothing. A bug is a small change of
 * our own source that is made while the module is loaded; the files on disk stay as they are. Nothing in the product knows
 * of it, and a bug whose place is gone fails loudly, so that the list stays true to the code.
 *
 *     RATATOSKR_PLANTED='ack before sync' node --conditions=source --import ./contract-tests/batteries/harness/plant.ts …
 */
import { readFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { fileURLToPath } from 'node:url'

export type BatteryName =
  | 'crash'
  | 'powercut'
  | 'simdisk'
  | 'syscalls'
  | 'corruption'
  | 'full-disk'
  | 'failing-device'
  | 'model'
  | 'queue-crash'
  | 'simbroker'
  | 'backlog'
  | 'recovery'

export interface PlantedBug {
  /** What is wrong, in a few words: the name on the table. */
  readonly name: string
  /** The batteries that must find it. */
  readonly batteries: readonly BatteryName[]
  /** Path below the project, such as `adapters/disk/log/group-writer.ts`. */
  readonly file: string
  /** Stands exactly once in the file. */
  readonly find: string
  readonly replace: string
}

const root = new URL('../../../', import.meta.url)

/** The text of a bug's file with the bug in it. @throws Error when its place is not there exactly once */
export function plantedSource({ name, file, find, replace }: PlantedBug): string {
  const source = readFileSync(new URL(file, root), 'utf8')
  const count = source.split(find).length - 1
  if (count !== 1) {
    throw new Error(
      `planted bug ${JSON.stringify(name)}: its place is ${count} times in ${file}; mend the list`,
    )
  }
  return source.replace(find, () => replace)
}

/** From now on the bug's file is loaded with the bug in it. Call before anything imports that file. */
export function plant(bug: PlantedBug): void {
  const source = plantedSource(bug)
  const path = fileURLToPath(new URL(bug.file, root))
  registerHooks({
    load(url, context, nextLoad) {
      if (!url.startsWith('file:') || fileURLToPath(url) !== path) return nextLoad(url, context)
      return { format: 'module-typescript', source, shortCircuit: true }
    },
  })
}

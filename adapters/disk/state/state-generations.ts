/**
 * Decides which generation of the state counts. A rewrite names its files once they are written and synced, and begins each
 * with a batch, so no crash leaves a newest generation without one: files that hold no whole batch are damage, whatever their
 * number says, and an older generation that does counts instead. Only reads; what to do is for `state-log.ts`.
 */
import { dirname } from 'node:path'
import {
  batchSizeOf,
  type Checksum,
  crcOf,
  type FileSystem,
  nextOffsetOf,
  RecordCursor,
  type StateTable,
} from 'ratatoskr/ports'
import type { StateNote } from '../log/clean-file.ts'
import { changesOf } from './state-change.ts'
import { generationOf, type MergedCopies, mergeCopies } from './state-copies.ts'

export interface Generation extends MergedCopies {
  readonly generation: number
}

/** What the generations of one directory are worth. */
export interface StateReading {
  /** Which counts; undefined when none holds a whole change. */
  readonly counts: Generation | undefined
  /** Generations without one whole change that are newer than the one that counts, newest first. */
  readonly hollow: readonly Generation[]
  /** Older than the one that counts, newest first; those that cannot be read are left out. */
  readonly older: readonly Generation[]
  /** True when it ends before what a clean stop has noted: something was taken away from it since. */
  readonly isShort: boolean
}

export const stemOf = (directory: string, generation: number): string =>
  `${directory}/${String(generation).padStart(20, '0')}`

/** The generations among the files of a directory, newest first. */
function generationsOf(names: readonly string[]): number[] {
  const found = new Set(names.map(generationOf).filter((generation) => generation !== undefined))
  return [...found].sort((a, b) => b - a)
}

/**
 * Reads the state into an empty table. What the generation that counts has lost is looked for in older ones that happen to be
 * there.
 * @param note what a clean stop has noted of it, if anything
 * @throws what the system gave when a place of the newest cannot be read in either copy
 */
export async function readGenerations(
  fileSystem: FileSystem,
  directory: string,
  checksum: Checksum,
  table: StateTable,
  note?: StateNote,
): Promise<StateReading> {
  let isNoted = false
  const read = async (generation: number, into?: StateTable): Promise<Generation> => {
    const cursor = new RecordCursor()
    const stem = stemOf(directory, generation)
    const merged = await mergeCopies(fileSystem, stem, checksum, (bytes, at, position) => {
      into?.apply(changesOf(cursor, bytes, at))
      isNoted ||= generation === note?.generation && endsAsNoted(bytes, at, position, note)
    })
    return { generation, ...merged }
  }
  const isShort = (counts: number): boolean =>
    note !== undefined && (counts < note.generation || (counts === note.generation && !isNoted))
  const generations = generationsOf(await fileSystem.list(directory))
  const hollow: Generation[] = []
  for (const [i, generation] of generations.entries()) {
    const found = await read(generation, table)
    if (found.batches === 0) {
      hollow.push(found)
      continue
    }
    const older: Generation[] = []
    for (const one of generations.slice(i + 1)) await read(one).then((other) => older.push(other), ignored)
    if (found.lost.length === 0 || older.length === 0) {
      return { counts: found, hollow, older, isShort: isShort(generation) }
    }
    table.clear()
    for (const one of older.toReversed()) await read(one.generation, table)
    const counts = await read(generation, table)
    return { counts, hollow, older, isShort: isShort(generation) }
  }
  return { counts: undefined, hollow, older: [], isShort: isShort(0) }
}

const endsAsNoted = (bytes: Uint8Array, at: number, position: number, note: StateNote): boolean =>
  position + batchSizeOf(bytes, at) === note.sizeBytes &&
  nextOffsetOf(bytes, at) === note.endOffset &&
  crcOf(bytes, at) === note.lastCrc

/** True when a data directory has segments: a topic of the state must have made them. */
export async function hasLogs(fileSystem: FileSystem, stateDirectory: string): Promise<boolean> {
  const logs = `${dirname(stateDirectory)}/logs`
  for (const topic of await fileSystem.list(logs)) {
    for (const partition of await fileSystem.list(`${logs}/${topic}`)) {
      const names = await fileSystem.list(`${logs}/${topic}/${partition}`)
      if (names.some((name) => name.endsWith('.log'))) return true
    }
  }
  return false
}

/**
 * True when files without a whole change are those of a new directory in which nothing was stored yet, as an earlier version
 * made it: one file, which was empty until the first change was written.
 */
export const isNewOfEarlierVersion = ({ counts, hollow }: StateReading): boolean =>
  counts === undefined &&
  hollow.length === 1 &&
  hollow[0].copies.some(({ path, state }) => path.endsWith('.copy') && state === 'missing')

const ignored = (): void => {}

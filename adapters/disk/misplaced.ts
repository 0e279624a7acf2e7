/**
 * Finds what stands where the store expects something of another kind, or may not be opened by this user: a file in place of
 * a directory, a directory in place of a file, a pipe. Looks at the machine's own files only, and reads none of them.
 */
import { constants } from 'node:fs'
import { access, readdir, stat } from 'node:fs/promises'
import { RatatoskrError } from 'ratatoskr/ports'
import { formatFileName } from './data-directory.ts'
import { lockFileName } from './directory-lock.ts'
import { systemCodeOf } from './file-system.ts'
import { nodeFileSystem } from './node-file-system.ts'

/** Something that is not as the store expects it. */
export interface Misplaced {
  readonly path: string
  readonly problem: string
  readonly advice: string
}

type Kind = 'directory' | 'file'

/** In the order of the layout. Segments are left out: whoever reads them says what is wrong with each. */
export async function* misplacedIn(directory: string): AsyncGenerator<Misplaced, void, undefined> {
  for (const name of [lockFileName, formatFileName, 'clean']) yield* look(`${directory}/${name}`, 'file')
  yield* look(`${directory}/state`, 'directory')
  yield* inside(`${directory}/state`, /^\d{20}\.(log|copy)$/, 'file')
  yield* look(`${directory}/logs`, 'directory')
  for (const topic of await namesIn(`${directory}/logs`, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)) {
    yield* look(topic, 'directory')
    for (const partition of await namesIn(topic, /^\d+$/)) {
      yield* look(partition, 'directory')
      yield* inside(partition, /^\d{20}\.index$/, 'file')
    }
  }
  for (const name of ['quarantine', 'trash']) yield* look(`${directory}/${name}`, 'directory')
}

async function* inside(path: string, pattern: RegExp, kind: Kind): AsyncGenerator<Misplaced> {
  for (const one of await namesIn(path, pattern)) yield* look(one, kind)
}

const namesIn = async (path: string, pattern: RegExp): Promise<string[]> =>
  (await readdir(path).catch(() => []))
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => `${path}/${name}`)

async function* look(path: string, kind: Kind): AsyncGenerator<Misplaced> {
  try {
    const found = await stat(path)
    if (kind === 'directory' ? !found.isDirectory() : !found.isFile()) {
      const what = found.isDirectory()
        ? 'a directory'
        : found.isFile()
          ? 'a file'
          : 'neither file nor directory'
      const advice = `move it elsewhere, and put the ${kind} back that belongs here, from a backup if there is one`
      yield { path, problem: `it is ${what}, where a ${kind} belongs`, advice }
      return
    }
    const { R_OK, X_OK } = constants
    await access(path, kind === 'directory' ? R_OK | X_OK : R_OK)
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT') return
    const advice = 'give the user who runs this, and the broker, the right to read it, or check the disk'
    yield { path, problem: `it cannot be opened (${code ?? 'unknown reason'})`, advice }
  }
}

/** The machine's file system, for a check that goes on: what cannot be listed is told of by `misplacedIn`. */
export const tolerantFileSystem = {
  ...nodeFileSystem,
  list: (path: string): Promise<readonly string[]> => nodeFileSystem.list(path).catch(() => []),
}

/** Passes on what a generator gives, and makes one of ours of an error of the system. */
export async function* coded<T>(
  found: AsyncGenerator<T, void, undefined>,
): AsyncGenerator<T, void, undefined> {
  try {
    yield* found
  } catch (cause) {
    if (cause instanceof RatatoskrError || systemCodeOf(cause) === undefined) throw cause
    throw new RatatoskrError(
      'RTK_STORE_UNREADABLE',
      `the data directory could not be read or written (${systemCodeOf(cause)}); check the rights of its files, and the disk, and run this again`,
      { cause },
    )
  }
}

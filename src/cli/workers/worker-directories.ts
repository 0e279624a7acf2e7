/**
 * Where workers keep their logs on disk, and how many there were: a partition belongs to the worker that its number gives
 * among so many, so a directory is of use only to as many workers as wrote it.
 */
import { mkdir, open, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RatatoskrError } from '../../ports/index.ts'

/** The most workers that a broker may have. */
export const workersMax = 64

const countFile = (directory: string): string => join(directory, 'workers', 'count')

/** The directory of one worker; the controller's is the data directory itself. */
export const directoryOfWorker = (directory: string, index: number): string =>
  index === 0 ? directory : join(directory, 'workers', String(index))

/** How many workers have written a data directory. */
export interface WrittenWorkers {
  /** Undefined for a directory without logs; a guess where there is a problem. */
  readonly count: number | undefined
  /** Why nobody can tell, so that the broker refuses to start. */
  readonly problem?: string
  readonly advice?: string
}

/** @throws RTK_CONFIG_INVALID when the directory was written by another number of workers, or nobody can tell by how many */
export async function assertWorkers(directory: string, workers: number): Promise<void> {
  const { count, problem, advice } = await workersOf(directory)
  if (problem !== undefined) throw new RatatoskrError('RTK_CONFIG_INVALID', `${problem}; ${advice}`)
  if (count === undefined || count === workers) return
  throw new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `workers is ${workers}, and the data directory was written by ${count}: partitions cannot be moved between workers yet; ` +
      `start with workers ${count}, or with another storage.directory`,
  )
}

/** Notes how many workers there are, before the first of them writes anything. A crash leaves the old note or the new one. */
export async function noteWorkers(directory: string, workers: number): Promise<void> {
  const folder = join(directory, 'workers')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const path = countFile(directory)
  // On a full disk there is no room for another file.
  if ((await readFile(path, 'utf8').catch(() => '')) === `${workers}\n`) return
  await writeFile(`${path}.tmp`, `${workers}\n`, { flush: true })
  await rename(`${path}.tmp`, path)
  // The logs that it speaks of must not outlast it when the power fails.
  for (const one of [folder, directory]) {
    await using handle = await open(one, 'r')
    await handle.sync()
  }
}

/** What a data directory says of the workers that wrote it, and whether their folders agree. */
export async function workersOf(directory: string): Promise<WrittenWorkers> {
  const note = await readFile(countFile(directory), 'utf8').catch(
    ({ code }: NodeJS.ErrnoException) => new Unread(code),
  )
  const highest = Math.max(0, ...(await foldersWithLogs(directory)))
  const hasLogs = (await namesIn(join(directory, 'logs'))).length > 0
  const told = typeof note === 'string' && /^\d+\s*$/.test(note) ? Number(note) : 0
  const count = told <= workersMax ? told : 0
  if (count > highest) return { count }
  if (count > 0) {
    return {
      count,
      problem: `workers/count says that ${count} workers wrote the data directory, and workers/${highest} holds logs of another one`,
      advice: `if there were ${highest + 1}, write that into workers/count; otherwise move workers/${highest} elsewhere; nothing reads it`,
    }
  }
  const isMissing = note instanceof Unread && note.isMissing
  if (highest === 0 && (isMissing || !hasLogs)) return { count: hasLogs ? 1 : undefined }
  const why =
    typeof note === 'string' ? 'holds no number of workers' : isMissing ? 'is missing' : 'cannot be read'
  return {
    count: highest + 1,
    problem: `workers/count, which says how many workers wrote the data directory, ${why}, and there are logs${highest > 0 ? ` of others in workers/${highest}` : ''}`,
    advice:
      highest > 0
        ? `put it back: a file with their number, ${highest + 1} if no folder is gone, and start with as many; without it their logs would begin anew`
        : 'put it back: a file with the number of workers that wrote the data directory, and start with as many',
  }
}

/** Why a note was not read. */
class Unread {
  readonly isMissing: boolean
  constructor(code: string | undefined) {
    // What else is wrong with the data directory itself, opening the storage says in full.
    this.isMissing = code === 'ENOENT' || code === 'ENOTDIR'
  }
}

async function foldersWithLogs(directory: string): Promise<number[]> {
  const found: number[] = []
  for (const name of await namesIn(join(directory, 'workers'))) {
    if (!/^[1-9]\d*$/.test(name) || Number(name) >= workersMax) continue
    if ((await namesIn(join(directory, 'workers', name, 'logs'))).length > 0) found.push(Number(name))
  }
  return found
}

/** Nothing where nothing can be listed: what is wrong there, opening the storage says in full. */
const namesIn = (path: string): Promise<readonly string[]> => readdir(path).catch(() => [])

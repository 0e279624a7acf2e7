/**
 * Where workers keep their logs on disk, and how many there were: a partition belongs to the worker that its number gives
 * among so many, so a directory is of use only to as many workers as wrote it.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RatatoskrError } from '../../ports/index.ts'

const countFile = (directory: string): string => join(directory, 'workers', 'count')

/** The directory of one worker; the controller's is the data directory itself. */
export const directoryOfWorker = (directory: string, index: number): string =>
  join(directory, 'workers', String(index))

/** @throws RTK_CONFIG_INVALID when the directory was written by another number of workers */
export async function assertWorkers(directory: string, workers: number): Promise<void> {
  const written = await workersOf(directory)
  if (written === undefined || written === workers) return
  throw new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `workers is ${workers}, and the data directory was written by ${written}: partitions cannot be moved between workers yet; ` +
      `start with workers ${written}, or with another storage.directory`,
  )
}

/** Notes how many workers there are, before the first of them writes anything. */
export async function noteWorkers(directory: string, workers: number): Promise<void> {
  await mkdir(join(directory, 'workers'), { recursive: true, mode: 0o700 })
  await writeFile(countFile(directory), `${workers}\n`, { flush: true })
}

async function workersOf(directory: string): Promise<number | undefined> {
  const note = await readFile(countFile(directory), 'utf8').catch(whenMissing(undefined))
  if (note !== undefined) return Number.parseInt(note, 10)
  const logs = await readdir(join(directory, 'logs')).catch(whenMissing([]))
  return logs.length > 0 ? 1 : undefined
}

const whenMissing =
  <T>(value: T) =>
  (error: NodeJS.ErrnoException): T => {
    if (error.code === 'ENOENT') return value
    // Whatever else is wrong with the directory, opening the storage says in full.
    if (error.code === 'ENOTDIR' || error.code === 'EACCES') return value
    throw error
  }

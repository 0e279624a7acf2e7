/**
 * Finds what stands where the store expects something of another kind, or may not be opened by this user: a file in place of
 * a directory, a directory in place of a file, a pipe. Looks at the machine's own files only, and reads none of them.
 */
import { constants } from 'node:fs'
import { access, lstat, readdir, stat } from 'node:fs/promises'
import { RatatoskrError } from 'ratatoskr/ports'
import { formatFileName } from '../files/data-directory.ts'
import { lockFileName } from '../files/directory-lock.ts'
import { isFull, systemCodeOf } from '../files/file-system.ts'
import { nodeFileSystem } from '../files/node-file-system.ts'

/** Something that is not as the store expects it. */
export interface Misplaced {
  readonly path: string
  /** `error` where the broker refuses to start, or refuses a log. */
  readonly severity: 'error' | 'warning'
  readonly problem: string
  readonly advice: string
}

/** What stands where a segment must be, by the system's code for opening it. */
const notASegment: Readonly<Record<string, string>> = {
  EISDIR: 'it is a directory, where a file belongs',
  EFTYPE: 'it is a pipe, a socket or a device, where a file belongs',
  ENOENT: 'it is a link that leads nowhere, where a file belongs',
  ELOOP: 'it is a link that leads in a circle, where a file belongs',
}

/** Why a segment cannot be read, and what to do: most often it is the disk, but it may be no file at all. */
export function unreadableSegment(code: string): { readonly problem: string; readonly advice: string } {
  if (Object.hasOwn(notASegment, code)) {
    return {
      problem: `${notASegment[code]}: the broker refuses this log`,
      advice: 'move it elsewhere, and put the file back that belongs here, from a backup if there is one',
    }
  }
  const isRight = code === 'EACCES' || code === 'EPERM'
  return {
    problem: `the file cannot be read (${code})`,
    advice: isRight
      ? 'give the user who runs this, and the broker, the right to read it'
      : 'check the disk; copy the file to another one with a tool that goes on after errors',
  }
}

type Kind = 'directory' | 'file'

/** What the broker does about it. */
interface Effect extends Pick<Misplaced, 'severity'> {
  readonly outcome: string
  /** What it does about a link that leads nowhere, if that is something else. */
  readonly withoutTarget?: Effect
}

const refusesStart: Effect = { severity: 'error', outcome: 'the broker refuses to start' }
const refusesLog: Effect = { severity: 'error', outcome: 'the broker refuses this log' }
const serves = (outcome: string): Effect => ({ severity: 'warning', outcome })

/** In the order of the layout. Segments are left out: whoever reads them says what is wrong with each. */
export async function* misplacedIn(directory: string): AsyncGenerator<Misplaced, void, undefined> {
  for (const name of [lockFileName, formatFileName]) yield* look(`${directory}/${name}`, 'file', refusesStart)
  const isFolder = (await stat(`${directory}/clean`).catch(() => undefined))?.isDirectory()
  yield* look(`${directory}/clean`, 'file', isFolder ? refusesStart : serves('the broker removes it'))
  yield* look(`${directory}/state`, 'directory', refusesStart)
  const copies = { ...refusesStart, withoutTarget: serves('the broker reads the other copy') }
  yield* inside(`${directory}/state`, /^\d{20}\.(log|copy)$/, 'file', copies)
  yield* look(`${directory}/logs`, 'directory', refusesStart)
  for (const topic of await namesIn(`${directory}/logs`, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)) {
    yield* look(topic, 'directory', refusesLog)
    for (const partition of await namesIn(topic, /^\d+$/)) {
      yield* look(partition, 'directory', refusesLog)
      yield* inside(partition, /^\d{20}\.index$/, 'file', serves('the broker reads the segment instead'))
    }
  }
  const reserve = serves('on a full disk the broker may have no room for deletions')
  yield* look(`${directory}/reserve`, 'file', reserve)
  yield* look(`${directory}/quarantine`, 'directory', serves('the broker cannot set damaged files aside'))
  yield* look(`${directory}/trash`, 'directory', serves('the broker removes it'))
}

async function* inside(path: string, pattern: RegExp, kind: Kind, effect: Effect): AsyncGenerator<Misplaced> {
  for (const one of await namesIn(path, pattern)) yield* look(one, kind, effect)
}

const namesIn = async (path: string, pattern: RegExp): Promise<string[]> =>
  (await readdir(path).catch(() => []))
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => `${path}/${name}`)

async function* look(path: string, kind: Kind, effect: Effect): AsyncGenerator<Misplaced> {
  const { severity, outcome } = effect
  try {
    const found = await stat(path)
    if (kind === 'directory' ? !found.isDirectory() : !found.isFile()) {
      const what = found.isDirectory()
        ? 'a directory'
        : found.isFile()
          ? 'a file'
          : 'a pipe, a socket or a device'
      const advice = `move it elsewhere, and put the ${kind} back that belongs here, from a backup if there is one`
      yield { path, severity, problem: `it is ${what}, where a ${kind} belongs: ${outcome}`, advice }
      return
    }
    const { R_OK, X_OK } = constants
    await access(path, kind === 'directory' ? R_OK | X_OK : R_OK)
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT') {
      if ((await lstat(path).catch(() => undefined)) === undefined) return
      const { withoutTarget: other = effect } = effect
      const problem = `it is a link that leads nowhere, where a ${kind} belongs: ${other.outcome}`
      yield {
        path,
        severity: other.severity,
        problem,
        advice: `mount or restore what it leads to, or put the ${kind} itself here`,
      }
      return
    }
    const advice = 'give the user who runs this, and the broker, the right to read it, or check the disk'
    yield { path, severity, problem: `it cannot be opened (${code ?? 'unknown reason'}): ${outcome}`, advice }
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
    if (isFull(cause)) {
      const message = 'the disk is full; free space, and run this again: what was done until here is done'
      throw new RatatoskrError('RTK_STORE_FULL', message, { cause })
    }
    throw new RatatoskrError(
      'RTK_STORE_UNREADABLE',
      `the data directory could not be read or written (${systemCodeOf(cause)}); check the rights of its files, and the disk, and run this again`,
      { cause },
    )
  }
}

/** What the logs of one store share. */

import { type Checksum, type Clock, type Logger, type LogStoreTally, RatatoskrError } from 'ratatoskr/ports'
import type { FilePool } from '../files/file-pool.ts'
import { systemCodeOf } from '../files/file-system.ts'
import type { Gate } from '../files/gate.ts'
import type { ReservedFileSystem } from '../files/reserved-file-system.ts'
import type { SpaceReserve } from '../files/space-reserve.ts'
import type { HotBudget } from './hot-tail.ts'
import type { Quarantine } from './quarantine.ts'
import type { Segment } from './segment.ts'

export interface StoreContext {
  readonly fileSystem: ReservedFileSystem
  readonly files: FilePool
  readonly hotBudget: HotBudget
  readonly indexes: IndexCache
  /** Bounds how many index files are open at once. */
  readonly indexFiles: Gate
  /** Bounds how many logs are opened at a time. */
  readonly openings: Gate
  readonly quarantine: Quarantine
  readonly tally: LogStoreTally
  readonly reserve: SpaceReserve
  readonly checksum: Checksum
  readonly clock: Clock
  readonly logger: Logger
  /** How long data of level `interval` may wait for its sync. */
  readonly syncIntervalMs: number
}

/** Bounds how many sealed segments keep their index in memory; the others read it again when they are asked. */
export class IndexCache {
  readonly #segmentsMax: number
  readonly #segments = new Set<Segment>()

  constructor(segmentsMax: number) {
    this.#segmentsMax = segmentsMax
  }

  /** Remembers that a sealed segment has its index in memory. */
  keep(segment: Segment): void {
    this.#segments.delete(segment)
    this.#segments.add(segment)
    if (this.#segments.size <= this.#segmentsMax) return
    const [oldest] = this.#segments
    this.#segments.delete(oldest)
    oldest.dropIndex()
  }

  forget(segment: Segment): void {
    this.#segments.delete(segment)
  }
}

/** What is of another kind than the store expects, by the system's code. */
const misplaced: Readonly<Record<string, string>> = {
  ENOTDIR: 'is a file where a directory belongs',
  EEXIST: 'is a file where a directory belongs',
  EISDIR: 'is a directory where a file belongs',
  EFTYPE: 'is a pipe, a socket or a device where a file belongs',
  ELOOP: 'is a link that leads in a circle',
  ENOENT: 'is missing, or a link that leads nowhere',
}

/** What is wrong with the directory rather than the disk, by the system's code. */
const unusable: Readonly<Record<string, string>> = {
  ...misplaced,
  EACCES: 'may not be opened by the user who runs the broker',
  EPERM: 'may not be changed by the user who runs the broker',
}

const unusableText = (reason: string, code: string | undefined): string =>
  `something in the data directory ${reason} (${code}); stop the broker and run \`ratatoskr log verify\`, which names it`

/** Makes any error of the file system one of ours; the original stays as cause and its path stays here. */
export function storeFailed(error: unknown): RatatoskrError {
  if (error instanceof RatatoskrError) return error
  const code = systemCodeOf(error)
  const reason = code === undefined ? undefined : unusable[code]
  if (reason !== undefined) {
    return new RatatoskrError('RTK_STORE_FAILED', unusableText(reason, code), { cause: error })
  }
  return new RatatoskrError(
    'RTK_STORE_FAILED',
    'the disk failed; what was not acknowledged is not stored, and the log must be opened again',
    { cause: error },
  )
}

/** As `storeFailed`, for opening a log: trying again does not help where something of another kind is in its place. */
export function openFailed(error: unknown): RatatoskrError {
  if (error instanceof RatatoskrError) return error
  const code = systemCodeOf(error) ?? ''
  if (!Object.hasOwn(misplaced, code)) return storeFailed(error)
  return new RatatoskrError('RTK_STORE_CORRUPT', unusableText(misplaced[code], code), { cause: error })
}

export const storeFull = (error: unknown): RatatoskrError =>
  new RatatoskrError('RTK_STORE_FULL', 'the disk is full; free space, and publishing resumes by itself', {
    cause: error,
  })

/** Stored bytes are damaged; `offset` is the first that cannot be served, and from `nextOffset` on others can, if known. */
export const corrupt = (what: string, offset: number, nextOffset?: number): RatatoskrError =>
  new RatatoskrError(
    'RTK_STORE_CORRUPT',
    `${what}, at or after offset ${offset}; run \`ratatoskr log verify\``,
    {
      details: nextOffset === undefined ? { offset } : { offset, nextOffset },
    },
  )

/** The system gave an error for a read: of this, nothing but the read is concerned. */
export function unreadable(error: unknown, offset: number): RatatoskrError {
  if (error instanceof RatatoskrError) return error
  const code = systemCodeOf(error) ?? ''
  const reason = Object.hasOwn(unusable, code) ? unusableText(unusable[code], code) : undefined
  return new RatatoskrError(
    'RTK_STORE_UNREADABLE',
    reason === undefined
      ? `the disk failed to read at offset ${offset}; the log goes on, and the same read may succeed later: check the disk`
      : `nothing can be read at offset ${offset}: ${reason}`,
    { cause: error, details: { offset } },
  )
}

export const isCorrupt = (error: unknown): boolean =>
  error instanceof RatatoskrError && error.code === 'RTK_STORE_CORRUPT'

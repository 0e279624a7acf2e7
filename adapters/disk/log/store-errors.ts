/** The errors of the disk stores, and what they say to people. */

import { RatatoskrError } from 'ratatoskr/ports'
import { systemCodeOf } from '../files/file-system.ts'

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

/** What callers of a partition are told when it cannot do its work. */
import { RatatoskrError } from '../../domain/errors.ts'

export const partitionUnavailable = (topic: string, partition: number): RatatoskrError =>
  new RatatoskrError(
    'RTK_UNAVAILABLE',
    `partition ${partition} of ${topic} is being opened again; retry after a pause`,
  )

/** A log whose files contradict each other: it is tried again, but only a repair helps. */
export const partitionCorrupt = (topic: string, partition: number, cause: unknown): RatatoskrError =>
  new RatatoskrError(
    'RTK_STORE_CORRUPT',
    `the log of partition ${partition} of ${topic} is damaged and was not opened: run \`ratatoskr log verify\` and ` +
      '`ratatoskr log repair` on the data directory, or restore it from a backup; the broker opens it by itself then',
    { cause },
  )

/** @param why what waits, and the bound that it reached */
export const partitionOverloaded = (topic: string, partition: number, why: string): RatatoskrError =>
  new RatatoskrError(
    'RTK_OVERLOADED',
    `partition ${partition} of ${topic} is waiting for its storage: ${why}; retry after a pause`,
  )

export const partitionStoreFailed = (topic: string, partition: number, cause: unknown): RatatoskrError =>
  new RatatoskrError(
    'RTK_STORE_FAILED',
    `the storage of partition ${partition} of ${topic} failed; it is being opened again, retry after a pause`,
    { cause },
  )

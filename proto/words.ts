/** Words of the API, and the numbers that stand for them in `ratatoskr.v1`; 0 is no word. */
import { Compression, RetentionPolicy } from './generated/ratatoskr/v1/types.ts'

export const retentionPolicyNumbers = {
  limits: RetentionPolicy.RETENTION_POLICY_LIMITS,
  workqueue: RetentionPolicy.RETENTION_POLICY_WORKQUEUE,
} as const

export const compressionNumbers = {
  none: Compression.COMPRESSION_NONE,
  gzip: Compression.COMPRESSION_GZIP,
  snappy: Compression.COMPRESSION_SNAPPY,
  zstd: Compression.COMPRESSION_ZSTD,
} as const

/** The word that a number stands for; undefined for one that stands for none. */
export const wordOf = <Word extends string>(
  numbers: Readonly<Record<Word, number>>,
  value: number,
): Word | undefined => (Object.keys(numbers) as Word[]).find((word) => numbers[word] === value)

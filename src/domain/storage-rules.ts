/** The rules that every store holds its callers to, in one place, so that all stores refuse the same with the same codes. */
import { type Durability, isAtLeast } from './durability.ts'
import { RatatoskrError } from './errors.ts'
import { quoteForMessage } from './names.ts'

/** Longest key of a state store, in characters. */
export const stateKeyCharactersMax = 512
/** Largest value of a state store, in bytes. */
export const stateValueBytesMax = 1024 * 1024

/** Partitions are numbered from 0 and fit the 16 bits that message ids have for them. */
export const partitionNumberMax = 65_535

const topicIdPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const stateKeyPattern = /^[\x20-\x7e]+$/

/**
 * Checks where a log is kept: the id is a UUID in lower case, so that it can be part of a path or a key as it is.
 * @throws RTK_INVALID_ARGUMENT
 */
export function assertLogId(id: { readonly topicId: string; readonly partition: number }): void {
  if (typeof id.topicId !== 'string' || !topicIdPattern.test(id.topicId)) {
    throw invalid(`a topic id is a UUID in lower case, got ${quoteForMessage(id.topicId)}`)
  }
  if (!Number.isInteger(id.partition) || id.partition < 0 || id.partition > partitionNumberMax) {
    throw invalid(
      `a partition is a whole number from 0 to ${partitionNumberMax}, got ${quoteForMessage(id.partition)}`,
    )
  }
}

/**
 * Checks a state key: 1 to 512 characters of printable ASCII.
 * @throws RTK_INVALID_ARGUMENT
 */
export function assertStateKey(key: unknown): asserts key is string {
  if (typeof key !== 'string' || key.length > stateKeyCharactersMax || !stateKeyPattern.test(key)) {
    throw invalid(
      `a state key is 1 to ${stateKeyCharactersMax} characters of printable ASCII, got ${quoteForMessage(key)}`,
    )
  }
}

/**
 * Checks that an append starts where the log ends.
 * @throws RTK_OFFSET_CONFLICT
 */
export function assertAppendsAtEnd(baseOffset: number, endOffset: number): void {
  if (baseOffset === endOffset) return
  throw new RatatoskrError(
    'RTK_OFFSET_CONFLICT',
    `an append must start at the end of the log, ${endOffset}; got ${baseOffset}`,
    { details: { endOffset, baseOffset } },
  )
}

/**
 * Checks that a store reaches the level that an append asks for.
 * @throws RTK_DURABILITY_UNAVAILABLE
 */
export function assertDurability(asked: Durability, strongest: Durability): void {
  if (isAtLeast(strongest, asked)) return
  throw new RatatoskrError(
    'RTK_DURABILITY_UNAVAILABLE',
    `this store reaches durability "${strongest}" at most, asked for "${asked}"`,
  )
}

/**
 * Checks that a read begins where there is something to read, or where the next batch will be.
 * @throws RTK_OFFSET_OUT_OF_RANGE
 */
export function assertReadable(offset: number, startOffset: number, stableOffset: number): void {
  if (offset >= startOffset && offset <= stableOffset) return
  throw new RatatoskrError(
    'RTK_OFFSET_OUT_OF_RANGE',
    `offsets ${startOffset} to ${stableOffset} can be read, got ${quoteForMessage(offset)}`,
    { details: { startOffset, stableOffset } },
  )
}

/** The error of every call on something that is not open. */
export const closedError = (what: string): RatatoskrError =>
  new RatatoskrError('RTK_CLOSED', `${what} is not open`)

function invalid(message: string): RatatoskrError {
  return new RatatoskrError('RTK_INVALID_ARGUMENT', message)
}

/** Running totals of a log store, to be counted up: what every store offers as its `counters`. */
export class LogStoreTally {
  appends = 0
  appendedBytes = 0
  syncs = 0
  hotReads = 0
  coldReads = 0
  hotBytes = 0
}

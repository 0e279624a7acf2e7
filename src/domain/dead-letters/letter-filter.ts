/** Which dead letters are meant. */
import { RatatoskrError } from '../errors.ts'
import type { Message } from '../message.ts'
import { isUuid } from '../message-id.ts'
import { quoteForMessage } from '../names.ts'
import { type DeadLetterFacts, deadLetterReasons } from './dead-letter-headers.ts'

/** Letters that all given members fit. */
export interface LetterFilter {
  /** Given up by this group. */
  readonly group?: string | undefined
  readonly reason?: (typeof deadLetterReasons)[number] | undefined
  /** Text that their error contains. */
  readonly match?: string | undefined
  /** Buried at this time or later, Unix ms. */
  readonly sinceMs?: number | undefined
  /** Buried before this time, Unix ms. */
  readonly untilMs?: number | undefined
  /** Of this message key. */
  readonly key?: Uint8Array | undefined
  /** Of these message ids. */
  readonly ids?: readonly string[] | undefined
  /** At these offsets of the dead letter topic. */
  readonly offsets?: readonly number[] | undefined
}

/** Ids, or offsets, that one filter names. */
const namedMax = 10_000

export type LetterTest = (
  facts: DeadLetterFacts,
  message: Pick<Message, 'id' | 'key' | 'offset' | 'timestampMs'>,
) => boolean

/**
 * What tells the letters that a filter means.
 * @throws RTK_INVALID_ARGUMENT
 */
export function letterTest(filter: LetterFilter): LetterTest {
  const { group, reason, match, sinceMs, untilMs, key, ids, offsets } = filter
  assertText('group', group)
  assertText('match', match)
  assertWhole('sinceMs', sinceMs)
  assertWhole('untilMs', untilMs)
  if (reason !== undefined && !deadLetterReasons.includes(reason)) {
    throw invalid(`reason must be ${deadLetterReasons.join(', ')}; got ${quoteForMessage(reason)}`)
  }
  if (key !== undefined && !(key instanceof Uint8Array))
    throw invalid(`key must be bytes, got ${quoteForMessage(key)}`)
  const named = setOf('ids', ids, isUuid, (id) => id.toLowerCase())
  const places = setOf('offsets', offsets, isWhole, (offset) => offset)
  return (facts, message) =>
    (group === undefined || facts.group === group) &&
    (reason === undefined || facts.reason === reason) &&
    (match === undefined || facts.error.includes(match)) &&
    (sinceMs === undefined || message.timestampMs >= sinceMs) &&
    (untilMs === undefined || message.timestampMs < untilMs) &&
    (key === undefined || (message.key !== undefined && equalBytes(message.key, key))) &&
    (places === undefined || places.has(message.offset)) &&
    (named === undefined || named.has(message.id))
}

function setOf<T>(
  name: string,
  values: readonly T[] | undefined,
  is: (value: unknown) => boolean,
  form: (value: T) => T,
): ReadonlySet<T> | undefined {
  if (values === undefined) return undefined
  if (!Array.isArray(values) || values.length > namedMax)
    throw invalid(`${name} must be a list of at most ${namedMax}, got ${quoteForMessage(values)}`)
  const wrong = values.find((value) => !is(value))
  if (wrong !== undefined) throw invalid(`${name} has an entry that is none: ${quoteForMessage(wrong)}`)
  return new Set(values.map(form))
}

function equalBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, i) => byte === other[i])
}

function assertText(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'string')
    throw invalid(`${name} must be a string, got ${quoteForMessage(value)}`)
}

function assertWhole(name: string, value: unknown): void {
  if (value !== undefined && !isWhole(value))
    throw invalid(`${name} must be a whole number of at least 0, got ${quoteForMessage(value)}`)
}

const isWhole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

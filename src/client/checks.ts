/** Checks of options that callers give. */
import {
  type Durability,
  durabilityLevels,
  isWordField,
  jsonLease,
  type LeaseProof,
  quoteForMessage,
  RatatoskrError,
  type RedriveRequest,
  suggestion,
  type TopicChanges,
  topicConfigFields,
} from '../ports/index.ts'

/**
 * The number, when it is a whole one of at least `least`.
 * @throws RTK_INVALID_ARGUMENT
 */
export function wholeNumber(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${name} must be a whole number of at least ${least}, got ${quoteForMessage(value)}`,
  )
}

/**
 * The numbers of those named, when they are whole and at least as great as is said, as far as they are given: a text link
 * cannot carry others, and would lose them without a word.
 * @throws RTK_INVALID_ARGUMENT
 */
export function wholeNumbers<Given extends object>(
  given: Given,
  leasts: { readonly [Name in keyof Given]?: number },
): Given {
  for (const name in leasts) {
    const value: unknown = given[name]
    if (value !== undefined) wholeNumber(name, value as number, leasts[name] ?? 0)
  }
  return given
}

/**
 * The list, when it is one.
 * @throws RTK_INVALID_ARGUMENT
 */
export function listOf<Item>(name: string, value: readonly Item[]): readonly Item[] {
  if (Array.isArray(value) && value.every((one) => typeof one === 'object' && one !== null)) return value
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${name} must be an array of objects, got ${quoteForMessage(value)}`,
  )
}

/**
 * What is asked of dead letters, with its numbers checked.
 * @throws RTK_INVALID_ARGUMENT
 */
export function letterRequest<Request extends RedriveRequest>(request: Request): Request {
  const { max, offsets } = request
  // Without an end is what it is when nothing is said.
  if (max !== Number.POSITIVE_INFINITY) wholeNumbers(request, { max: 1 } as never)
  for (const offset of offsets ?? []) wholeNumber('offsets', offset, 0)
  return wholeNumbers(request, { sinceMs: 0, untilMs: 0, after: 0, rate: 1 } as never)
}

/**
 * The lease that a publish carries, when it is one.
 * @throws RTK_INVALID_ARGUMENT that names the field
 */
export function leaseProofOf(lease: LeaseProof | undefined): LeaseProof | undefined {
  if (lease !== undefined) jsonLease(lease, 'lease')
  return lease // the same object: batches are told apart by it
}

/**
 * The value, when it is one of those listed.
 * @throws RTK_INVALID_ARGUMENT
 */
export function oneOf<T extends string>(name: string, value: T, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${name} must be one of ${allowed.join(', ')}, got ${quoteForMessage(value)}`,
  )
}

/**
 * The level, when there is one by that name: binary links have no word for others, and none would be asked for.
 * @throws RTK_INVALID_ARGUMENT
 */
export const durabilityOf = (level: Durability | undefined): Durability | undefined =>
  level === undefined ? undefined : oneOf('durability', level, durabilityLevels)

/**
 * The settings of a topic, when every link can carry them; their ranges and words are the broker's to check.
 * @throws RTK_INVALID_ARGUMENT for fields that do not exist, and for numbers that are not whole
 */
export function topicSettings<T extends TopicChanges>(config: T): T {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `a topic configuration is an object, got ${quoteForMessage(config)}`,
    )
  }
  for (const [field, value] of Object.entries(config)) {
    const name = topicConfigFields.find((known) => known === field)
    if (name === undefined) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `${quoteForMessage(field)} is no field of a topic configuration; ${suggestion(field, topicConfigFields)}`,
      )
    }
    if (name === 'queue') continue // checked like the settings of a group
    const isWord = isWordField(name)
    if (value !== undefined && (isWord ? typeof value !== 'string' : !Number.isSafeInteger(value))) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `${name} must be a ${isWord ? 'word' : 'whole number'}, got ${quoteForMessage(value)}`,
      )
    }
  }
  return config
}

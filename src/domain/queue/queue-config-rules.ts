/** Reads settings of queue groups that come from outside: every field range-checked, unknown fields refused. */
import { RatatoskrError } from '../errors.ts'
import { assertTopicName, quoteForMessage } from '../names.ts'
import { suggestion } from '../suggest.ts'
import { type QueueConfig, sharings } from './queue-config.ts'
import { equalRetryPolicies, parseRetryPolicy } from './retry-policy.ts'

const DAY_MS = 24 * 60 * 60 * 1_000

/** What a queue group is when nobody says anything. */
export const defaultQueueConfig: QueueConfig = {
  sharing: 'partitioned',
  ackTimeoutMs: 30_000,
  retriesMax: 3,
  retry: { kind: 'exponential', delayMs: 200, maxMs: 30_000, jitter: 0.5 },
  deadLetterTopic: '',
  deadLetterRetentionMs: 30 * DAY_MS,
  deadLetterExpired: false,
  inFlightMax: 100_000,
  checkpointIntervalMs: 100,
  groupExpiryMs: 7 * DAY_MS,
}

/** The names of a queue group's settings. */
export const queueConfigFields = Object.keys(defaultQueueConfig) as readonly (keyof QueueConfig)[]

interface Range {
  readonly min: number
  readonly max: number
  /** `-1` stands for "without end". */
  readonly endless: boolean
}

const ranges = {
  ackTimeoutMs: { min: 1, max: 7 * DAY_MS, endless: false },
  retriesMax: { min: 0, max: 10_000, endless: true },
  deadLetterRetentionMs: { min: 1, max: Number.MAX_SAFE_INTEGER, endless: true },
  inFlightMax: { min: 1, max: 10_000_000, endless: false },
  checkpointIntervalMs: { min: 1, max: 60_000, endless: false },
  groupExpiryMs: { min: 1, max: Number.MAX_SAFE_INTEGER, endless: true },
} as const satisfies Partial<Record<keyof QueueConfig, Range>>

/**
 * Completes and checks settings. Fields that are missing or undefined are those of `base`. `retry` may be a text: see
 * `parseRetryPolicy`.
 * @throws RTK_INVALID_ARGUMENT
 */
export const parseQueueConfig = (given: unknown, base: QueueConfig): QueueConfig => ({
  ...base,
  ...parseQueueSettings(given),
})

/** Changes of settings, checked. */
export interface ParsedChanges {
  readonly set: Partial<QueueConfig>
  /** To be those of the topic again. */
  readonly unset: readonly (keyof QueueConfig)[]
}

/** Checks what is to become of a group's settings: see `QueueChanges`. @throws RTK_INVALID_ARGUMENT */
export function parseQueueChanges(given: unknown): ParsedChanges {
  if (typeof given !== 'object' || given === null) return { set: parseQueueSettings(given), unset: [] }
  const unset = Object.entries(given).filter(([, value]) => value === null)
  const set = Object.entries(given).filter(([, value]) => value !== null)
  return {
    set: parseQueueSettings(Array.isArray(given) ? given : Object.fromEntries(set)),
    unset: unset.map(([key]) => fieldNamed(key)),
  }
}

/** Checks settings. @returns those that were given, and only those @throws RTK_INVALID_ARGUMENT */
export function parseQueueSettings(given: unknown): Partial<QueueConfig> {
  if (given === undefined) return {}
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid(`the settings of a queue group are an object, got ${quoteForMessage(given)}`)
  }
  const checked: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(given)) {
    const name = fieldNamed(key)
    if (value !== undefined) checked[name] = checkedField(name, value)
  }
  return checked as Partial<QueueConfig>
}

function fieldNamed(key: string): keyof QueueConfig {
  const name = queueConfigFields.find((known) => known === key)
  if (name !== undefined) return name
  throw invalid(
    `${quoteForMessage(key)} is no setting of a queue group; ${suggestion(key, queueConfigFields)}`,
  )
}

/** True when two groups are set alike. */
export const equalQueueConfigs = (one: QueueConfig, other: QueueConfig): boolean =>
  queueConfigFields.every((name) =>
    name === 'retry' ? equalRetryPolicies(one.retry, other.retry) : one[name] === other[name],
  )

function checkedField(name: keyof QueueConfig, value: unknown): unknown {
  switch (name) {
    case 'sharing':
      if ((sharings as readonly unknown[]).includes(value)) return value
      throw invalid(`sharing must be one of ${sharings.join(', ')}, got ${quoteForMessage(value)}`)
    case 'retry':
      return parseRetryPolicy(value)
    case 'deadLetterTopic':
      return deadLetterTopicOf(value)
    case 'deadLetterExpired':
      if (typeof value === 'boolean') return value
      throw invalid(`deadLetterExpired must be true or false, got ${quoteForMessage(value)}`)
    default:
      return inRange(name, value, ranges[name])
  }
}

function deadLetterTopicOf(value: unknown): string {
  if (value === '' || value === 'none') return value
  try {
    assertTopicName(value)
  } catch (cause) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `deadLetterTopic must be the name of a topic, none, or empty for the topic's own, got ${quoteForMessage(value)}`,
      { cause },
    )
  }
  return value
}

function inRange(name: string, value: unknown, { min, max, endless }: Range): number {
  if (endless && value === -1) return value
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) {
    return value as number
  }
  const orNone = endless ? ', or -1 for no end' : ''
  throw invalid(
    `${name} must be a whole number from ${min} to ${max}${orNone}, got ${quoteForMessage(value)}`,
  )
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

/** Reads topic configurations that come from outside: every field range-checked, unknown fields refused. */
import { type Durability, durabilityLevels } from './durability.ts'
import { RatatoskrError } from './errors.ts'
import type { Limits } from './limits.ts'
import { quoteForMessage } from './names.ts'
import type { QueueConfig } from './queue/queue-config.ts'
import {
  defaultQueueConfig,
  equalQueueConfigs,
  parseQueueConfig,
  parseQueueSettings,
} from './queue/queue-config-rules.ts'
import { suggestion } from './suggest.ts'
import { compressions, retentionPolicies, type TopicChanges, type TopicConfig } from './topic.ts'

const DAY_MS = 24 * 60 * 60 * 1_000
const KIB = 1024
const GIB = 1024 * 1024 * KIB

/** The limits that bound a topic's configuration. */
type TopicLimits = Pick<Limits, 'partitionsPerTopicMax' | 'messageBytesMax'>

/**
 * What a topic is when its creator says nothing.
 * @param durability what the broker's storage gives by default
 */
export const defaultTopicConfig = (durability: Durability, limits: TopicLimits): TopicConfig => ({
  partitions: 1,
  retentionMs: 7 * DAY_MS,
  retentionBytes: 10_000_000_000,
  retentionMessages: 1_000_000,
  retention: 'limits',
  segmentBytes: 100_000_000,
  durability,
  messageBytesMax: limits.messageBytesMax,
  dedupWindowMs: 0,
  compression: 'none',
})

interface Range {
  readonly min: number
  readonly max: number
  /** `-1` stands for "without bound". */
  readonly unbounded: boolean
}

/** The fields that are numbers; the others are words, and the settings of queue groups. */
type NumberField = Exclude<keyof TopicConfig, keyof typeof words | 'queue'>

/** What the fields that are words may be. */
const words = {
  durability: durabilityLevels,
  retention: retentionPolicies,
  compression: compressions,
} as const

const ranges = (limits: TopicLimits): Readonly<Record<NumberField, Range>> => ({
  partitions: { min: 1, max: limits.partitionsPerTopicMax, unbounded: false },
  retentionMs: { min: 1, max: Number.MAX_SAFE_INTEGER, unbounded: true },
  retentionBytes: { min: 1, max: Number.MAX_SAFE_INTEGER, unbounded: true },
  retentionMessages: { min: 1, max: Number.MAX_SAFE_INTEGER, unbounded: true },
  segmentBytes: { min: 64 * KIB, max: 2 * GIB, unbounded: false },
  messageBytesMax: { min: 1, max: limits.messageBytesMax, unbounded: false },
  dedupWindowMs: { min: 0, max: 7 * DAY_MS, unbounded: false },
})

/** True of the fields of a topic configuration that are words, not numbers. */
export const isWordField = (name: keyof TopicConfig): name is keyof typeof words => name in words

/** The names of a configuration's fields. */
export const topicConfigFields: readonly (keyof TopicConfig)[] = [
  'partitions',
  'retentionMs',
  'retentionBytes',
  'retentionMessages',
  'retention',
  'segmentBytes',
  'durability',
  'messageBytesMax',
  'dedupWindowMs',
  'compression',
  'queue',
]

/**
 * Completes and checks the configuration of a new topic. Fields that are missing or undefined take their default.
 * @throws RTK_INVALID_ARGUMENT
 */
export const parseTopicConfig = (given: unknown, defaults: TopicConfig, limits: TopicLimits): TopicConfig =>
  withChanges(defaults, checkedFields(given, limits))

/** A configuration with these fields changed; of the settings of queue groups, those that are given. */
export const withChanges = (config: TopicConfig, changes: TopicChanges): TopicConfig => ({
  ...config,
  ...changes,
  ...(changes.queue !== undefined && { queue: { ...config.queue, ...changes.queue } }),
})

/**
 * Checks changes to a topic in use. @returns the fields that were given, and only those
 * @throws RTK_INVALID_ARGUMENT, also when partitions would become fewer
 */
export function parseTopicChanges(given: unknown, current: TopicConfig, limits: TopicLimits): TopicChanges {
  const changes = checkedFields(given, limits)
  if (changes.partitions !== undefined && changes.partitions < current.partitions) {
    throw invalid(
      `partitions can only be added: the topic has ${current.partitions}, got ${changes.partitions}`,
    )
  }
  return changes
}

/** True when two configurations say the same. */
export const equalTopicConfigs = (one: TopicConfig, other: TopicConfig): boolean =>
  topicConfigFields.every((name) =>
    name === 'queue'
      ? equalQueueConfigs(queueDefaultsOf(one), queueDefaultsOf(other))
      : one[name] === other[name],
  )

/** What a queue group of the topic is when nobody says anything. */
export const queueDefaultsOf = ({ queue }: TopicConfig): QueueConfig =>
  queue === undefined ? defaultQueueConfig : parseQueueConfig(queue, defaultQueueConfig)

function checkedFields(given: unknown, limits: TopicLimits): Partial<TopicConfig> {
  if (given === undefined) return {}
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid(`a topic configuration is an object, got ${quoteForMessage(given)}`)
  }
  const bounds = ranges(limits)
  const checked: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(given)) {
    const name = topicConfigFields.find((known) => known === key)
    if (name === undefined) {
      throw invalid(
        `${quoteForMessage(key)} is no field of a topic configuration; ${suggestion(key, topicConfigFields)}`,
      )
    }
    if (value === undefined) continue
    if (name === 'queue') {
      checked.queue = parseQueueSettings(value)
      continue
    }
    if (isWordField(name)) assertWord(name, value)
    else assertInRange(name, value, bounds[name])
    checked[name] = value
  }
  return checked
}

function assertWord(name: keyof typeof words, value: unknown): void {
  const known: readonly unknown[] = words[name]
  if (known.includes(value)) return
  throw invalid(`${name} must be one of ${known.join(', ')}, got ${quoteForMessage(value)}`)
}

function assertInRange(name: string, value: unknown, { min, max, unbounded }: Range): void {
  if (unbounded && value === -1) return
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return
  const orNone = unbounded ? ', or -1 for no bound' : ''
  throw invalid(
    `${name} must be a whole number from ${min} to ${max}${orNone}, got ${quoteForMessage(value)}`,
  )
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

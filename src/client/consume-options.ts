/** What one may say of how messages are consumed, and which of it goes with a group. */
import { retryDelayMs } from '../domain/queue/retry-policy.ts'
import {
  type Overflow,
  type QueueConfig,
  type Random,
  RatatoskrError,
  type RetryPolicy,
  type StartPosition,
} from '../ports/index.ts'
import { oneOf, wholeNumber } from './checks.ts'
import type { ClientMessage } from './client-message.ts'

/** A partition that is this subscription's now. */
export interface AssignedPartition {
  readonly partition: number
  /** Where it begins; undefined in a queue group, whose messages come as they are ready. */
  readonly offset: number | undefined
}

/** What happens around a subscription, for those who watch it. Called one after the other; a throw is logged. */
export interface SubscriptionEvents {
  /** Partitions that this subscription has now; more may be added later. */
  readonly onAssigned?: ((partitions: readonly AssignedPartition[]) => void) | undefined
  /** Partitions that went to another member. */
  readonly onRevoked?: ((partitions: readonly number[]) => void) | undefined
  /** Messages are missing: see `SubscriptionGap`. Not in a queue group. */
  readonly onGap?: ((gap: SubscriptionGap) => void) | undefined
  readonly onDisconnect?: ((reason: RatatoskrError) => void) | undefined
  readonly onReconnect?: (() => void) | undefined
  /** Something went wrong that does not end the subscription: a lease that was lost, a message that was skipped. */
  readonly onError?: ((error: RatatoskrError, message?: ClientMessage) => void) | undefined
}

/** Messages of a partition that are gone: those from `expectedOffset` up to, without, `offset`. */
export interface SubscriptionGap {
  readonly partition: number
  readonly expectedOffset: number
  readonly offset: number
  /** `gone`: retention deleted them, or the topic is another one now. `overflow`: dropped by the subscription's `overflow` policy. */
  readonly reason: 'gone' | 'overflow'
}

/** How long a message that failed waits, in milliseconds. `attempt` is that which failed, from 1. */
export type RetryFunction = (attempt: number, error: unknown, message: ClientMessage) => number

/** What every subscription to messages may be told. */
interface CommonOptions extends SubscriptionEvents {
  /** Where to begin: without a group `latest`; with one that is new, `earliest`. */
  readonly from?: StartPosition | undefined
  /**
   * `at-least-once` (default): a message is done when it was handled. `at-most-once`: nothing is ever repeated; in a group
   * messages count as acknowledged when they are handed over, so that a crash loses those that were not handled.
   */
  readonly delivery?: 'at-least-once' | 'at-most-once' | undefined
  /**
   * `auto` (default): a handler that returns acknowledges and one that throws gives back; an iterator acknowledges the
   * message it gave last when it is asked for the next. `manual`: only the methods of the message do.
   */
  readonly ack?: 'auto' | 'manual' | undefined
  /** Bytes of batches that may be on their way or wait here; 8 MiB by default. */
  readonly prefetchBytes?: number | undefined
  /**
   * Messages that are not settled, 5,000 by default: handed out without a group; in one, all that are leased to this
   * subscription, also those that wait here.
   */
  readonly maxInFlight?: number | undefined
  /** How often a message that failed comes again; 3 by default. */
  readonly retriesMax?: number | undefined
  /**
   * Pauses before a message comes again: a policy, or a function that is asked here. In a group a policy is one of its
   * settings, carried out by the broker, and a function overrides it for this member.
   */
  readonly retry?: RetryPolicy | RetryFunction | undefined
}

/** The settings of a queue group that a subscription may bring along: see `QueueConfig`. */
type GroupSettings = Partial<Omit<QueueConfig, 'retry' | 'retriesMax'>>

/** How a subscription reads and settles. */
export interface ConsumeOptions extends CommonOptions, GroupSettings {
  /**
   * Takes messages as a member of this queue group: each message is leased to one member, who settles it. Settings of the
   * group may be given along; a group that is new or has no members has them from here, others must not be contradicted. Without: every message.
   */
  readonly group?: string | undefined
  /** Name of this member within the group; made up by the broker otherwise. */
  readonly member?: string | undefined
  /** Only these partitions; not with a group. */
  readonly partitions?: readonly number[] | undefined
  /**
   * What happens when this subscription falls behind further than a bound while its `prefetchBytes` are used up; by default
   * it gets everything, however late. Dropped messages are told of by `onGap`. Not with a group.
   */
  readonly overflow?: Overflow | undefined
  /** What to do with a failed message: end the subscription (default), or pass over it. Not with a group: there it is a dead letter. */
  readonly onFailed?: 'stop' | 'skip' | undefined
}

const groupSettings = [
  'sharing',
  'ackTimeoutMs',
  'deadLetterTopic',
  'deadLetterRetentionMs',
  'deadLetterExpired',
  'inFlightMax',
  'checkpointIntervalMs',
  'groupExpiryMs',
] as const satisfies readonly (keyof GroupSettings)[]

const notInGroups: Readonly<Record<string, string>> = {
  partitions: 'the group shares its partitions itself',
  overflow: 'members of a group get every message',
  onFailed: 'a message that fails too often becomes a dead letter: see deadLetterTopic',
  commitIntervalMs:
    'messages are acknowledged one by one; offsets are committed by batches(topic, { group })',
  commitAckCount: 'messages are acknowledged one by one; offsets are committed by batches(topic, { group })',
}

/** The options that all subscriptions have, with their defaults, checked. */
export interface CheckedOptions {
  readonly atMostOnce: boolean
  readonly settlesItself: boolean
  readonly prefetchBytes: number
  readonly maxInFlight: number
}

/** What is on its way while an answer is: less would have fast consumers of small messages wait for it. */
const prefetchBytesDefault = 8 * 1024 * 1024
const maxInFlightDefault = 5_000

/** @throws RTK_INVALID_ARGUMENT for values out of range, and for options that do not go with a group, or without one */
export function checkedOptions(options: ConsumeOptions): CheckedOptions {
  const { delivery = 'at-least-once', ack = 'auto', group } = options
  const given = new Map(Object.entries(options).filter(([, value]) => value !== undefined))
  if (group === undefined) {
    const setting = ['member', ...groupSettings].find((name) => given.has(name))
    if (setting !== undefined) throw invalid(`${setting} is an option of group members: give a group as well`)
  } else {
    for (const [name, why] of Object.entries(notInGroups)) {
      if (given.has(name)) throw invalid(`${name} does not go with a group: ${why}`)
    }
  }
  return {
    atMostOnce: oneOf('delivery', delivery, ['at-least-once', 'at-most-once']) === 'at-most-once',
    settlesItself: oneOf('ack', ack, ['auto', 'manual']) === 'auto',
    prefetchBytes: wholeNumber('prefetchBytes', options.prefetchBytes ?? prefetchBytesDefault, 1),
    maxInFlight: wholeNumber('maxInFlight', options.maxInFlight ?? maxInFlightDefault, 1),
  }
}

/** What of the options is the group's to know; undefined when there is nothing. */
export function groupConfigOf(options: ConsumeOptions): Partial<QueueConfig> | undefined {
  const config: Record<string, unknown> = {}
  for (const name of [...groupSettings, 'retriesMax', 'retry'] as const) {
    const value = options[name]
    if (value !== undefined && typeof value !== 'function') config[name] = value
  }
  return Object.keys(config).length === 0 ? undefined : (config as Partial<QueueConfig>)
}

/** The pause that a policy or a function says. @throws RTK_INVALID_ARGUMENT for what is no pause, and what the function throws */
export function retryPauseMs(
  retry: RetryPolicy | RetryFunction,
  message: ClientMessage,
  reason: unknown,
  random: Random,
): number {
  if (typeof retry !== 'function') return retryDelayMs(retry, message.attempt, random.next())
  const pauseMs = retry(message.attempt, reason, message)
  if (typeof pauseMs === 'number' && pauseMs >= 0 && pauseMs <= Number.MAX_SAFE_INTEGER)
    return Math.round(pauseMs)
  throw invalid(`the retry function must return milliseconds of at least 0, got ${String(pauseMs)}`)
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

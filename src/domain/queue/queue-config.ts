/** How a queue group shares messages, for how long it leases them, and what becomes of those that fail. */

/**
 * Who may get which message:
 * - `partitioned`: each partition belongs to one member, and its messages come in order
 * - `shared`: any member takes any message; there may be more members than partitions
 * - `keyShared`: any number of members; the messages of one key come in order, to one member at a time
 */
export const sharings = ['partitioned', 'shared', 'keyShared'] as const
export type Sharing = (typeof sharings)[number]

/**
 * How long a message that was given back waits, in milliseconds. `attempt` below is that which failed, from 1.
 * - `fixed`: `delayMs`
 * - `linear`: `delayMs * attempt`, at most `maxMs`
 * - `exponential`: `delayMs * 2 ** (attempt - 1)`, at most `maxMs`, of which the part `jitter` (0 to 1) is random
 * - `list`: the delay of the attempt; the last one for all attempts after it
 */
export type RetryPolicy =
  | { readonly kind: 'fixed'; readonly delayMs: number }
  | { readonly kind: 'linear'; readonly delayMs: number; readonly maxMs: number }
  | {
      readonly kind: 'exponential'
      readonly delayMs: number
      readonly maxMs: number
      readonly jitter: number
    }
  | { readonly kind: 'list'; readonly delaysMs: readonly number[] }

/** Changes of a group's settings: values of its own, or null for that of its topic from then on. */
export type QueueChanges = {
  readonly [Name in keyof QueueConfig]?: QueueConfig[Name] | null | undefined
}

/** The settings of a queue group. A topic has them for its groups, and each group may have its own. */
export interface QueueConfig {
  readonly sharing: Sharing
  /** How long a member may take to settle a message before another one gets it. */
  readonly ackTimeoutMs: number
  /** How often a message comes again before it has failed: it is delivered at most once more than this. `-1`: without end. */
  readonly retriesMax: number
  readonly retry: RetryPolicy
  /** Where failed messages go. Empty: `<topic>.dlq`. `none`: nowhere, they are counted and told of. */
  readonly deadLetterTopic: string
  /** How long dead letters stay, for a dead letter topic that has yet to be created. `-1`: for ever. */
  readonly deadLetterRetentionMs: number
  /** True: a message that expires before it was acknowledged goes to the dead letters. */
  readonly deadLetterExpired: boolean
  /** Messages that the group's members may hold leases on at once. */
  readonly inFlightMax: number
  /** How often what was settled is stored at most: what a crash of the broker may deliver again. */
  readonly checkpointIntervalMs: number
  /** A group that has had no member for so long is forgotten. `-1`: never. */
  readonly groupExpiryMs: number
}

/**
 * Every bound of the broker: a name, a unit, a default, and what may be configured.
 *
 * Nothing in Ratatoskr grows without one of these. Reaching a bound is a coded error, never a silent drop.
 */
import { RatatoskrError } from './errors.ts'

/** Bounds of one broker. Units stand last in the name; counts carry none. */
export interface Limits {
  /** Topics of the broker, all namespaces together. */
  readonly topicsMax: number
  /** Partitions of one topic. */
  readonly partitionsPerTopicMax: number
  /** Live subscriptions on one topic. */
  readonly subscribersPerTopicMax: number
  /** Consumer groups with members or committed offsets, per topic. */
  readonly groupsPerTopicMax: number
  /** Key, headers and payload of one message together, before compression. */
  readonly messageBytesMax: number
  /** One record batch as stored. */
  readonly batchBytesMax: number
  /** What a compressed batch may expand to. */
  readonly expandedBatchBytesMax: number
  /** Messages of one batch, or of one batch request. */
  readonly messagesPerBatchMax: number
  /** Headers of one message. */
  readonly headersPerMessageMax: number
  /** One header's name, in bytes of UTF-8. */
  readonly headerNameBytesMax: number
  /** All header names and values of one message together. */
  readonly headersBytesMax: number
  /** Publishes waiting for one partition's store, in messages: `TOPIC_BUFFER_SIZE`. */
  readonly partitionQueueMessagesMax: number
  /** Publishes waiting for one partition's store, in bytes. */
  readonly partitionQueueBytesMax: number
  /** Publishes waiting for the store in all partitions together, in bytes. */
  readonly publishBytesWaitingMax: number
  /** How late each turn of the event loop may be for half a second before publishes that come from outside are refused. */
  readonly loopDelayMsMax: number
  /** What one delivery to one subscriber may carry: whole batches, at least one. */
  readonly deliveryBytesMax: number
  /** Credit that one subscriber may hold, in bytes. */
  readonly creditBytesMax: number
  /** Credit that one subscriber may hold, in messages. */
  readonly creditMessagesMax: number
  /** Sessions of the broker, all transports together. */
  readonly sessionsMax: number
  /** Subscriptions of one session. */
  readonly subscriptionsPerSessionMax: number
  /** Calls of one connection that wait for their answers. */
  readonly requestsInFlightMax: number
  /** How long a fetch may wait for messages. */
  readonly fetchWaitMsMax: number
  /** A group member that has to give signs of life and is silent for longer is evicted: `SUBSCRIBER_TIMEOUT`. */
  readonly memberTimeoutMs: number
  /** Default deadline of a client's call. */
  readonly callTimeoutMs: number
  /** How long stopping may take before what is left is cut. */
  readonly stopTimeoutMs: number
  /** Nesting of JSON that a transport accepts. */
  readonly jsonDepthMax: number
  /** A committed offset's metadata string, in bytes of UTF-8. */
  readonly commitMetadataBytesMax: number
  /** Idempotent producers that a partition remembers, at most 10,000; beyond it the one that was silent longest is forgotten. */
  readonly producersPerPartitionMax: number
  /** An idempotent producer that is silent for longer is forgotten. */
  readonly producerExpiryMs: number
  /** Message ids that a topic with `dedupWindowMs` remembers; beyond it the oldest are forgotten early. */
  readonly dedupIdsPerTopicMax: number
  /** Members of one queue group. */
  readonly queueMembersMax: number
  /** Settlements of one call. */
  readonly settlementsPerCallMax: number
  /** Why a message was given up, as its dead letter says it, in bytes of UTF-8: what is longer is cut. */
  readonly settleReasonBytesMax: number
  /** Messages that wait for their time to be delivered, all topics together. */
  readonly scheduledMessagesMax: number
  /** An observer of a plugin that fails so often in a row is unhooked. */
  readonly observerFailuresMax: number
  /** How long a plugin's queues may take to drain at stop, and then its `close`, before each is given up. */
  readonly pluginCloseTimeoutMs: number
}

const MIB = 1024 * 1024

/** The bounds a broker has when its options say nothing. */
export const defaultLimits: Limits = Object.freeze({
  topicsMax: 1_000,
  partitionsPerTopicMax: 1_024,
  subscribersPerTopicMax: 10_000,
  groupsPerTopicMax: 1_000,
  messageBytesMax: 8 * MIB,
  batchBytesMax: 16 * MIB,
  expandedBatchBytesMax: 64 * MIB,
  messagesPerBatchMax: 100_000,
  headersPerMessageMax: 64,
  headerNameBytesMax: 256,
  headersBytesMax: 16 * 1024,
  partitionQueueMessagesMax: 100_000,
  partitionQueueBytesMax: 64 * MIB,
  publishBytesWaitingMax: 256 * MIB,
  loopDelayMsMax: 100,
  deliveryBytesMax: MIB,
  creditBytesMax: 64 * MIB,
  creditMessagesMax: 1_000_000,
  sessionsMax: 20_000,
  subscriptionsPerSessionMax: 1_024,
  requestsInFlightMax: 10_000,
  fetchWaitMsMax: 60_000,
  memberTimeoutMs: 5_000,
  callTimeoutMs: 5_000,
  stopTimeoutMs: 10_000,
  jsonDepthMax: 32,
  commitMetadataBytesMax: 4_096,
  producersPerPartitionMax: 10_000,
  producerExpiryMs: 7 * 24 * 60 * 60 * 1_000,
  dedupIdsPerTopicMax: 1_000_000,
  queueMembersMax: 10_000,
  settlementsPerCallMax: 10_000,
  settleReasonBytesMax: 1_024,
  scheduledMessagesMax: 1_000_000,
  observerFailuresMax: 10,
  pluginCloseTimeoutMs: 2_500,
})

/**
 * Completes and checks bounds.
 * @throws RTK_CONFIG_INVALID when a bound is not a positive safe integer, RTK_CONFIG_UNKNOWN_KEY when there is none of that name
 */
export function makeLimits(changes: Partial<Limits> = {}): Limits {
  for (const [name, value] of Object.entries(changes)) {
    if (!Object.hasOwn(defaultLimits, name)) {
      throw new RatatoskrError(
        'RTK_CONFIG_UNKNOWN_KEY',
        `limits.${name} is not a limit; see the table of limits in the README`,
      )
    }
    if (!Number.isSafeInteger(value) || (value as number) < 1) {
      throw new RatatoskrError(
        'RTK_CONFIG_INVALID',
        `limits.${name} must be a whole number of at least 1, got ${String(value)}`,
      )
    }
  }
  return Object.freeze({ ...defaultLimits, ...changes })
}

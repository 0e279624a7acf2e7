/**
 * The names of the options of each call: an option that is misspelt would otherwise be passed over without a word, and a
 * message without its time to live, or a subscription from the wrong place, come of it.
 */
import {
  type DeadLetterRequest,
  type PurgeRequest,
  quoteForMessage,
  RatatoskrError,
  type RedriveRequest,
  type ScheduledRequest,
  suggestion,
} from '../ports/index.ts'
import type { BatchesOptions } from './batch-subscription.ts'
import type { FetchOptions, PublishBatchOptions } from './broker-calls.ts'
import type { ClientCallOptions } from './call.ts'
import type { ClientOptions, ConnectOptions } from './connect-with.ts'
import type { CommitOptions, SeekOptions } from './group-calls.ts'
import type { MessageToPublish } from './outgoing.ts'
import type { ProducerOptions, PublishManyOptions, PublishOptions } from './producer-options.ts'
import type { CreateQueueOptions, MemberCallOptions, TakeOptions } from './queue/taking.ts'
import type { HandlerOptions } from './subscription.ts'

/** Each name of an interface, so that the compiler says when one is missing. */
type OptionNames<Options> = Readonly<Record<keyof Options, true>>

const callOptions: OptionNames<ClientCallOptions> = { signal: true, timeoutMs: true }

export const clientOptions: OptionNames<ClientOptions> = { timeoutMs: true, limits: true }
export const connectOptions: OptionNames<ConnectOptions> = {
  ...clientOptions,
  ...callOptions,
  credentials: true,
  connections: true,
  reconnect: true,
  connectTimeoutMs: true,
  frameBytesMax: true,
  openLink: true,
  platform: true,
}

const publishCall = { ...callOptions, durability: true, lease: true } as const
const messageFields = {
  key: true,
  headers: true,
  id: true,
  timestampMs: true,
  ttlMs: true,
  expiresAtMs: true,
  partition: true,
  deliverAtMs: true,
  delayMs: true,
} as const

export const publishOptions: OptionNames<PublishOptions> = { ...messageFields, ...publishCall }
export const publishManyOptions: OptionNames<PublishManyOptions> = publishCall
export const publishBatchOptions: OptionNames<PublishBatchOptions> = publishCall
export const messageNames: OptionNames<MessageToPublish> = { ...messageFields, payload: true }

export const producerOptions: OptionNames<ProducerOptions> = {
  lingerMs: true,
  batchBytesMax: true,
  inFlightMax: true,
  bufferBytesMax: true,
  waitingMax: true,
  whenFull: true,
  compression: true,
  durability: true,
  idempotent: true,
  retryIndeterminate: true,
  timeoutMs: true,
}

const events = {
  onAssigned: true,
  onRevoked: true,
  onGap: true,
  onDisconnect: true,
  onReconnect: true,
  onError: true,
} as const
const reading = {
  ...callOptions,
  ...events,
  group: true,
  member: true,
  from: true,
  partitions: true,
  overflow: true,
  ack: true,
  prefetchBytes: true,
} as const

export const batchesOptions: OptionNames<BatchesOptions> = { ...reading, commitIntervalMs: true }
export const subscribeOptions: OptionNames<HandlerOptions> = {
  ...reading,
  concurrency: true,
  delivery: true,
  maxInFlight: true,
  onFailed: true,
  retriesMax: true,
  retry: true,
  sharing: true,
  ackTimeoutMs: true,
  deadLetterTopic: true,
  deadLetterRetentionMs: true,
  deadLetterExpired: true,
  inFlightMax: true,
  checkpointIntervalMs: true,
  groupExpiryMs: true,
}

export const fetchOptions: OptionNames<FetchOptions> = {
  ...callOptions,
  partition: true,
  offset: true,
  max: true,
  bytesMax: true,
  waitMs: true,
}
export const scheduledOptions: OptionNames<ScheduledRequest & ClientCallOptions> = {
  ...callOptions,
  limit: true,
  after: true,
}
const letterFilter = {
  ...callOptions,
  deadLetterTopic: true,
  group: true,
  reason: true,
  match: true,
  sinceMs: true,
  untilMs: true,
  key: true,
  ids: true,
  offsets: true,
  max: true,
  after: true,
} as const
export const letterOptions: OptionNames<(DeadLetterRequest | PurgeRequest) & ClientCallOptions> = letterFilter
export const redriveOptions: OptionNames<RedriveRequest & ClientCallOptions> = {
  ...letterFilter,
  target: true,
  rate: true,
  dryRun: true,
  force: true,
  everyGroup: true,
}

export const memberOptions: OptionNames<CommitOptions | MemberCallOptions> = { ...callOptions, member: true }
export const seekOptions: OptionNames<SeekOptions> = { ...callOptions, partitions: true }
export const createQueueOptions: OptionNames<CreateQueueOptions> = { ...callOptions, from: true }
export const takeOptions: OptionNames<TakeOptions> = {
  ...callOptions,
  member: true,
  from: true,
  config: true,
  autoAck: true,
  messagesMax: true,
  bytesMax: true,
  waitMs: true,
}

/**
 * The options, when each is known by its name.
 * @throws RTK_INVALID_ARGUMENT that names the nearest one
 */
export function knownOptions<Options extends object>(
  what: string,
  options: Options,
  names: Readonly<Record<string, true>> = callOptions,
): Options {
  if (typeof options !== 'object' || options === null) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `the options of ${what} are an object, got ${quoteForMessage(options)}`,
    )
  }
  for (const name in options) if (names[name] !== true) throw unknownOption(what, name, names)
  return options
}

const unknownOption = (what: string, name: string, names: object): RatatoskrError =>
  new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${quoteForMessage(name)} is no option of ${what}; ${suggestion(name, Object.keys(names))}`,
  )

/** What both entries of the client, Node's and the browser's, give to their callers. */
export { type ErrorCode, isRatatoskrError, RatatoskrError } from '../ports/index.ts'
export { type BatchesOptions, type BatchSubscription, ClientBatch } from './batch-subscription.ts'
export type { FetchOptions } from './broker-calls.ts'
export type { ClientCallOptions } from './call.ts'
export { Client } from './client.ts'
export { ClientMessage, type NackOptions } from './client-message.ts'
export type { ClientOptions, ConnectOptions } from './connect-with.ts'
export type { ReconnectOptions } from './connection.ts'
export type {
  AssignedPartition,
  RetryFunction,
  SubscriptionEvents,
  SubscriptionGap,
} from './consume-options.ts'
export type { CommitOptions, SeekOptions } from './group-calls.ts'
export type { Link, LinkOptions, OpenLink } from './link.ts'
export type { MessageFields, MessageToPublish } from './outgoing.ts'
export { Producer } from './producer.ts'
export type { ProducerOptions, PublishManyOptions, PublishOptions } from './producer-options.ts'
export {
  type CreateQueueOptions,
  type MemberCallOptions,
  TakenBatch,
  type TakenBatches,
  type TakeOptions,
} from './queue/taking.ts'
export {
  type HandlerOptions,
  type MessageHandler,
  type SubscribeOptions,
  Subscription,
} from './subscription.ts'

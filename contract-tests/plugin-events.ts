/** One sample of every event that plugins can see, as a broker would give them. */
import type {
  GuardEvents,
  MessageDeliveredEvent,
  ObserverEvents,
  Principal,
  SubscriberEvent,
  TopicEvent,
} from 'ratatoskr/ports'
import { defaultLimits, RatatoskrError } from 'ratatoskr/ports'
import { sampleBatch } from './batches.ts'

const principal: Principal = { name: 'alice', namespace: 'default' }
const peer = { transport: 'test', address: '127.0.0.1:51234', local: true, encrypted: false }
const error = new RatatoskrError('RTK_STORE_FULL', 'no room')
const batch = sampleBatch({ baseOffset: 0, count: 3 })

const topic: TopicEvent = {
  topic: 'orders',
  topicId: '0b2f4a36-6f1e-4a3b-9d4e-2f5f6c7d8e9f',
  config: {
    partitions: 4,
    retentionMs: -1,
    retentionBytes: -1,
    retentionMessages: -1,
    retention: 'limits',
    segmentBytes: 64 * 1024 * 1024,
    durability: 'memory',
    messageBytesMax: defaultLimits.messageBytesMax,
    dedupWindowMs: 0,
    compression: 'none',
  },
  principal,
}

const subscriber: SubscriberEvent = { topic: 'orders', group: 'billing', subscriptionId: 'sub-1', principal }

const delivered: MessageDeliveredEvent = {
  topic: 'orders',
  partition: 1,
  group: 'billing',
  subscriptionId: 'sub-1',
  fromOffset: 0,
  recordCount: 3,
  sizeBytes: batch.length,
}

/** What observers are told. */
export const observerEvents: ObserverEvents = {
  messagePublished: {
    topic: 'orders',
    topicId: '6b1f5f3e-8a52-4a1d-9d0e-3f5b7c2a1e90',
    partition: 1,
    baseOffset: 0,
    recordCount: 3,
    sizeBytes: batch.length,
    durability: 'memory',
    durationMs: 1.5,
    batch,
  },
  publishFailed: {
    topic: 'orders',
    partition: undefined,
    recordCount: 3,
    sizeBytes: 300,
    error,
    durationMs: 2,
  },
  messageDelivered: delivered,
  messageAcked: { topic: 'orders', partition: 1, group: 'billing', offset: 3 },
  messageRetried: {
    topic: 'orders',
    partition: 1,
    group: 'billing',
    fromOffset: 3,
    toOffset: 4,
    attempt: 1,
    reason: 'no stock',
  },
  messageLeaseLost: {
    topic: 'orders',
    partition: 1,
    group: 'billing',
    fromOffset: 4,
    toOffset: 6,
    reason: 'timeout',
    member: 'worker-1',
  },
  deadLettered: {
    topic: 'orders',
    partition: 1,
    group: 'billing',
    offset: 3,
    reason: 'retries',
    attempts: 4,
    deadLetterTopic: 'orders.dlq',
  },
  subscriberJoined: subscriber,
  subscriberLeft: { ...subscriber, error: undefined },
  subscriberFailed: { ...subscriber, error },
  subscriberOverflowed: {
    ...subscriber,
    group: undefined,
    partition: 1,
    policy: 'dropOldest',
    fromOffset: 4,
    toOffset: 9,
  },
  topicCreated: topic,
  topicAltered: topic,
  topicDeleted: topic,
  connected: { sessionId: 'session-1', peer, principal },
  disconnected: { sessionId: 'session-1', peer, principal },
  connectRefused: {
    peer,
    error: new RatatoskrError('RTK_UNAUTHENTICATED', 'credentials are missing or wrong'),
  },
  denied: { principal, action: 'topic:delete', resource: 'orders' },
  profileStarted: { principal, kind: 'cpu', durationMs: 1_000 },
}

/** What guards are asked about. */
export const guardEvents: GuardEvents = {
  connect: observerEvents.connected,
  publish: {
    topic: 'orders',
    topicId: '6b1f5f3e-8a52-4a1d-9d0e-3f5b7c2a1e90',
    partition: 1,
    recordCount: 3,
    batch,
    principal,
  },
  subscribe: subscriber,
  topicCreate: topic,
  topicAlter: { ...topic, changes: { partitions: 8 } },
  topicDelete: topic,
}

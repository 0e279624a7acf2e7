/**
 * The operations that a client may ask for, one row each: what its request looks like, and the call of the session that
 * answers it. The rows know nothing of sockets and ids.
 */
import type {
  CallOptions,
  FetchedBatch,
  GroupFetchRequest,
  JsonMessage,
  PayloadEncoding,
  PublishReceipt,
  PublishResult,
  TopicChanges,
  TopicConfig,
} from 'ratatoskr/ports'
import {
  commitShape,
  errorToJson,
  fetchShape,
  formatTopicRef,
  groupFetchShape,
  jsonAny,
  jsonBoolean,
  jsonDurability,
  jsonEncoding,
  jsonLease,
  jsonList,
  jsonObject,
  jsonString,
  messageFromJson,
  messagesOf,
  messageToJson,
  optional,
  optionalInteger,
  parseTopicRef,
  quoteForMessage,
  RatatoskrError,
  scheduledShape,
  seekShape,
  startPositionFromJson,
  subscribeShape,
  suggestion,
} from 'ratatoskr/ports'
import { deadLetterOperations } from './dead-letter-operations.ts'
import { FetchedBinary, jsonId, type Operation, type OperationContext, operation } from './operation.ts'
import { queueOperations } from './queue-operations.ts'

const topic = jsonString
const id = jsonId

/** What a publish may say beside its messages. */
const publishShape = {
  encoding: optional(jsonEncoding),
  durability: optional(jsonDurability),
  lease: optional(jsonLease),
}

/** The operations by name. */
const operations: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  [
    'createTopic',
    // The broker checks the configuration field by field, as it does for every other way in.
    operation({ topic, config: optional(jsonObject) }, ({ session }, request) =>
      session.createTopic(request.topic, request.config as Partial<TopicConfig> | undefined),
    ),
  ],
  ['deleteTopic', operation({ topic }, async ({ session }, request) => session.deleteTopic(request.topic))],
  ['listTopics', operation({}, async ({ session }) => ({ topics: await session.listTopics() }))],
  [
    'topicExists',
    operation({ topic }, async ({ session }, request) => ({
      exists: await session.topicExists(request.topic),
    })),
  ],
  ['describeTopic', operation({ topic }, ({ session }, request) => session.describeTopic(request.topic))],
  [
    'alterTopic',
    operation({ topic, changes: jsonObject }, ({ session }, request) =>
      session.alterTopic(request.topic, request.changes as TopicChanges),
    ),
  ],
  ['initProducer', operation({}, ({ session }) => session.initProducer())],
  ['resolveTopic', operation({ topic }, ({ session }, request) => session.resolveTopic(request.topic))],
  [
    'publish',
    operation(
      { topic, message: jsonAny, ...publishShape },
      ({ session }, { topic, message, encoding, durability, lease }) =>
        session.publish(topic, messageFromJson(message, encoding), { durability, lease }),
    ),
  ],
  [
    'publishMany',
    operation(
      {
        topic,
        messages: jsonList(jsonAny),
        ...publishShape,
      },
      async ({ session }, { topic, messages, encoding, durability, lease }) => {
        const outgoing = messages.map((message, i) => messageFromJson(message, encoding, `messages[${i}]`))
        const results = await session.publishMany(topic, outgoing, { durability, lease })
        return { results: results.map(resultToJson) }
      },
    ),
  ],
  [
    'cancelScheduled',
    operation({ topic, messageId: jsonString }, async ({ session }, request) => ({
      cancelled: await session.cancelScheduled(request.topic, request.messageId),
    })),
  ],
  [
    'listScheduled',
    operation({ topic, ...scheduledShape }, ({ session }, { topic, ...request }) =>
      session.listScheduled(topic, request),
    ),
  ],
  ...deadLetterOperations,
  [
    'subscribe',
    operation(
      { topic, ...subscribeShape, encoding: optional(jsonEncoding), expand: optional(jsonBoolean) },
      ({ subscriptions }, { topic, encoding, expand, ...options }, requestId) =>
        subscriptions.open(requestId, topic, options, { encoding, expand }),
    ),
  ],
  [
    'credit',
    operation(
      { subscription: id, bytes: optionalInteger(0), messages: optionalInteger(0) },
      ({ subscriptions }, { subscription, ...credit }) => subscriptions.grant(subscription, credit),
      true,
    ),
  ],
  [
    'unsubscribe',
    operation({ subscription: id }, async ({ subscriptions }, request) =>
      subscriptions.close(request.subscription),
    ),
  ],
  [
    'commitSubscription',
    operation({ subscription: id, offsets: commitShape.offsets }, ({ subscriptions }, request) =>
      subscriptions.commit(request.subscription, request.offsets),
    ),
  ],
  [
    'commit',
    operation({ topic, ...commitShape }, ({ session }, { topic, ...request }) =>
      session.commit(topic, request),
    ),
  ],
  [
    'fetch',
    operation(
      { topic, ...fetchShape, encoding: optional(jsonEncoding) },
      async (context, { topic, encoding, ...request }, requestId) => {
        const batch = await context.session.fetch(topic, request, { signal: context.signalFor(requestId) })
        return context.binary ? new FetchedBinary(batch) : messagesReader(context, topic, encoding)(batch)
      },
    ),
  ],
  [
    'fetchGroup',
    operation(
      { topic, ...groupFetchShape, encoding: optional(jsonEncoding) },
      async (context, { topic, encoding, ...request }, requestId) => {
        const call: CallOptions = { signal: context.signalFor(requestId) }
        const batches = await context.session.fetchGroup(topic, request satisfies GroupFetchRequest, call)
        return { batches: batches.map(messagesReader(context, topic, encoding)) }
      },
    ),
  ],
  [
    'seekGroup',
    operation(
      { topic, group: jsonString, ...seekShape },
      async ({ session }, { topic, group, ...request }) => ({
        offsets: await session.seekGroup(topic, group, request),
      }),
    ),
  ],
  [
    'listGroups',
    operation({ topic }, async ({ session }, request) => ({
      groups: await session.listGroups(request.topic),
    })),
  ],
  [
    'describeGroup',
    operation({ topic, group: jsonString }, ({ session }, request) =>
      session.describeGroup(request.topic, request.group),
    ),
  ],
  [
    'deleteGroup',
    operation({ topic, group: jsonString }, ({ session }, request) =>
      session.deleteGroup(request.topic, request.group),
    ),
  ],
  [
    'offsets',
    operation({ topic, position: startPositionFromJson }, async ({ session }, request) => ({
      offsets: await session.offsets(request.topic, request.position),
    })),
  ],
  ['topicStats', operation({ topic }, ({ session }, request) => session.topicStats(request.topic))],
  ['brokerStats', operation({}, ({ session }) => session.brokerStats())],
  ...queueOperations,
  ['cancel', operation({ request: id }, (context, { request }) => context.cancel(request), true)],
  ['ping', operation({}, () => undefined)],
  [
    'hello',
    operation({ token: optional(jsonAny), username: optional(jsonAny), password: optional(jsonAny) }, () => {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        'hello is the first frame of a connection, and comes once',
      )
    }),
  ],
])

/**
 * The operation of this name.
 * @throws RTK_NOT_SUPPORTED with the nearest name, or the list of names
 */
export function operationOf(name: string): Operation {
  const found = operations.get(name)
  if (found === undefined) {
    const known = suggestion(name, [...operations.keys()])
    throw new RatatoskrError('RTK_NOT_SUPPORTED', `there is no operation ${quoteForMessage(name)}; ${known}`)
  }
  return found
}

const resultToJson = (result: PublishResult): PublishReceipt | { readonly error: unknown } =>
  'error' in result ? { error: errorToJson(result.error) } : result

interface JsonFetched {
  readonly partition: number
  readonly fromOffset: number
  readonly nextOffset: number
  readonly startOffset: number
  readonly stableOffset: number
  readonly messages: readonly JsonMessage[]
}

/** Makes fetched batches messages. Messages without an id of their own have one that is made of the topic's. */
function messagesReader(
  context: OperationContext,
  topicText: string,
  encoding: PayloadEncoding | undefined,
): (batch: FetchedBatch) => JsonFetched {
  const expansion = { codecs: context.platform.compression, bytesMax: context.expandedBatchBytesMax }
  const source = {
    topic: formatTopicRef(parseTopicRef(topicText, context.session.principal.namespace)),
    expansion,
    expiry: context.platform.clock,
  }
  return ({ topicId, partition, fromOffset, nextOffset, startOffset, stableOffset, bytes }) => {
    const messages = messagesOf(bytes, { ...source, topicId, partition }, fromOffset)
    return {
      partition,
      fromOffset,
      nextOffset,
      startOffset,
      stableOffset,
      messages: messages
        .filter(({ offset }) => offset < nextOffset)
        .map((message) => messageToJson(message, encoding))
        .toArray(),
    }
  }
}

/** The operations on queue groups, as rows of the table in operations.ts. */
import type { BatchSource, PayloadEncoding, QueueChanges, QueueConfig, Taken } from 'ratatoskr/ports'
import {
  consumeShape,
  createQueueShape,
  formatTopicRef,
  jsonBoolean,
  jsonEncoding,
  jsonObject,
  jsonSettlements,
  jsonString,
  leasedToJson,
  optional,
  parseTopicRef,
  pauseQueueShape,
  settleResultsToJson,
  settleShape,
  takeOrRelease,
  takeShape,
  uncompressedBatches,
} from 'ratatoskr/ports'
import { jsonId, type Operation, type OperationContext, operation, TakenBinary } from './operation.ts'

const topic = jsonString
const group = jsonString
const formShape = { encoding: optional(jsonEncoding), expand: optional(jsonBoolean) }

/** The broker checks settings field by field, as it does for every other way in. */
const configOf = (config: object | undefined): Partial<QueueConfig> | undefined => config

export const queueOperations: readonly (readonly [name: string, row: Operation])[] = [
  [
    'consume',
    operation(
      { topic, ...consumeShape, ...formShape },
      ({ subscriptions }, { topic, encoding, expand, config, ...options }, requestId) =>
        subscriptions.consume(
          requestId,
          topic,
          { ...options, config: configOf(config) },
          { encoding, expand },
        ),
    ),
  ],
  [
    'settleSubscription',
    operation(
      { subscription: jsonId, settlements: jsonSettlements },
      async ({ subscriptions }, { subscription, settlements }) => ({
        results: settleResultsToJson(await subscriptions.settle(subscription, settlements)),
      }),
    ),
  ],
  [
    'heartbeatSubscription',
    operation(
      { subscription: jsonId },
      ({ subscriptions }, { subscription }) => subscriptions.heartbeat(subscription),
      true,
    ),
  ],
  [
    'take',
    operation(
      { topic, ...takeShape, ...formShape },
      async (context, { topic, encoding, expand = false, config, ...request }, requestId) => {
        const { session, binary } = context
        const asked = { ...request, config: configOf(config) }
        const taken = await takeOrRelease(session, topic, asked, context.signalFor(requestId))
        if (!binary) return takenToJson(context, topic, taken, encoding)
        return new TakenBinary(expand ? expanded(context, taken) : taken)
      },
    ),
  ],
  [
    'settle',
    operation({ topic, ...settleShape }, async ({ session }, { topic, ...request }) => ({
      results: settleResultsToJson(await session.settle(topic, request)),
    })),
  ],
  [
    'heartbeat',
    operation({ topic, group, member: jsonString }, ({ session }, { topic, group, member }) =>
      session.heartbeat(topic, group, member),
    ),
  ],
  [
    'leaveQueue',
    operation({ topic, group, member: jsonString }, ({ session }, { topic, group, member }) =>
      session.leaveQueue(topic, group, member),
    ),
  ],
  [
    'createQueue',
    operation({ topic, ...createQueueShape }, ({ session }, { topic, group, config, from }) =>
      session.createQueue(topic, group, configOf(config), from),
    ),
  ],
  [
    'alterQueue',
    operation({ topic, group, changes: jsonObject }, ({ session }, { topic, group, changes }) =>
      session.alterQueue(topic, group, changes as QueueChanges),
    ),
  ],
  [
    'describeQueue',
    operation({ topic, group }, ({ session }, { topic, group }) => session.describeQueue(topic, group)),
  ],
  [
    'pauseQueue',
    operation({ topic, ...pauseQueueShape }, ({ session }, { topic, group, paused, partitions }) =>
      session.pauseQueue(topic, group, paused, partitions),
    ),
  ],
]

const expansionOf = ({ platform, expandedBatchBytesMax }: OperationContext): BatchSource['expansion'] => ({
  codecs: platform.compression,
  bytesMax: expandedBatchBytesMax,
})

function expanded(context: OperationContext, taken: Taken): Taken {
  const expansion = expansionOf(context)
  const { checksum } = context.platform
  const batches = taken.batches.map((batch) => ({
    ...batch,
    bytes: uncompressedBatches(batch.bytes, expansion, checksum),
  }))
  return { ...taken, batches }
}

function takenToJson(
  context: OperationContext,
  topicText: string,
  { topicId, member, memberTimeoutMs, batches }: Taken,
  encoding: PayloadEncoding | undefined,
): object {
  const topic = formatTopicRef(parseTopicRef(topicText, context.session.principal.namespace))
  const source = { topic, topicId, expansion: expansionOf(context) }
  const messages = batches.flatMap((batch) =>
    leasedToJson(batch, { ...source, partition: batch.partition }, encoding),
  )
  return { member, memberTimeoutMs, messages }
}

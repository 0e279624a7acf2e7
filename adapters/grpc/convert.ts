/** Between the messages of `ratatoskr.v1` and the plain data of the broker's facade, for the server's side. */
import type {
  BatchReceipt,
  Durability,
  FetchedBatch,
  GroupDescription,
  OutgoingMessage,
  Overflow,
  OverflowPolicy,
  PartitionDescription,
  PartitionOffset,
  PublishReceipt,
  StartPosition,
  TopicConfig,
  TopicDescription,
} from 'ratatoskr/ports'
import { durabilityNumber, durabilityOfNumber, overflowPolicies, RatatoskrError } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { queueConfigFromProto, queueConfigToProto } from './queue-config-convert.ts'

/** Fields that are not set come as the empty string or list; the facade knows them as undefined. */
export const textOf = (value: string): string | undefined => (value === '' ? undefined : value)
export const listOf = <Item>(items: Item[]): Item[] | undefined => (items.length === 0 ? undefined : items)

/** @throws RTK_INVALID_ARGUMENT for a number that is no level */
export function durabilityFromProto(value: proto.Durability): Durability | undefined {
  if (value === proto.Durability.DURABILITY_UNSPECIFIED) return undefined
  const level = durabilityOfNumber(value - 1)
  if (level !== undefined) return level
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `durability must be 0 to 5 (see ratatoskr.v1.Durability), got ${value}`,
  )
}

export const durabilityToProto = (level: Durability): proto.Durability =>
  (durabilityNumber(level) + 1) as proto.Durability

/** The word of a field; undefined when none is set. @throws RTK_INVALID_ARGUMENT for a number that stands for none */
function wordFromProto<Word extends string>(
  field: string,
  type: string,
  numbers: Readonly<Record<Word, number>>,
  value: number,
): Word | undefined {
  if (value === 0) return undefined
  const word = proto.wordOf(numbers, value)
  if (word !== undefined) return word
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${field} must be 0 to ${Object.keys(numbers).length} (see ratatoskr.v1.${type}), got ${value}`,
  )
}

/** Only the fields that are set. */
export function configFromProto(config: proto.TopicConfig | undefined): Partial<TopicConfig> {
  if (config === undefined) return {}
  const {
    partitions,
    retentionMs,
    retentionBytes,
    retentionMessages,
    segmentBytes,
    messageBytesMax,
    dedupWindowMs,
  } = config
  const queue = queueConfigFromProto(config.queue)
  const durability = durabilityFromProto(config.durability)
  const { retentionPolicyNumbers, compressionNumbers } = proto
  const retention = wordFromProto('retention', 'RetentionPolicy', retentionPolicyNumbers, config.retention)
  const compression = wordFromProto('compression', 'Compression', compressionNumbers, config.compression)
  return {
    ...(partitions === undefined ? {} : { partitions }),
    ...(retentionMs === undefined ? {} : { retentionMs }),
    ...(retentionBytes === undefined ? {} : { retentionBytes }),
    ...(retentionMessages === undefined ? {} : { retentionMessages }),
    ...(retention === undefined ? {} : { retention }),
    ...(segmentBytes === undefined ? {} : { segmentBytes }),
    ...(messageBytesMax === undefined ? {} : { messageBytesMax }),
    ...(dedupWindowMs === undefined ? {} : { dedupWindowMs }),
    ...(compression === undefined ? {} : { compression }),
    ...(durability === undefined ? {} : { durability }),
    ...(queue === undefined ? {} : { queue }),
  }
}

export function topicToProto(topic: TopicDescription): proto.Topic {
  const { namespace, name, id, createdAtMs, config } = topic
  return {
    namespace,
    name,
    id,
    createdAtMs,
    config: {
      ...config,
      durability: durabilityToProto(config.durability),
      retention: proto.retentionPolicyNumbers[config.retention],
      compression: proto.compressionNumbers[config.compression],
      queue: config.queue && queueConfigToProto(config.queue),
    },
    partitions: topic.partitions.map(partitionToProto),
  }
}

const partitionStates = {
  online: proto.PartitionState.PARTITION_STATE_ONLINE,
  recovering: proto.PartitionState.PARTITION_STATE_RECOVERING,
  failed: proto.PartitionState.PARTITION_STATE_FAILED,
} as const

export const partitionToProto = (partition: PartitionDescription): proto.Partition => ({
  ...partition,
  state: partitionStates[partition.state],
  damaged: [...partition.damaged],
})

const overflowPolicyNumbers = {
  pause: proto.OverflowPolicy.OVERFLOW_POLICY_PAUSE,
  dropOldest: proto.OverflowPolicy.OVERFLOW_POLICY_DROP_OLDEST,
  dropNewest: proto.OverflowPolicy.OVERFLOW_POLICY_DROP_NEWEST,
  disconnect: proto.OverflowPolicy.OVERFLOW_POLICY_DISCONNECT,
} as const satisfies Record<OverflowPolicy, proto.OverflowPolicy>

/** @throws RTK_INVALID_ARGUMENT for a number that is no policy */
export function overflowFromProto(overflow: proto.Overflow | undefined): Overflow | undefined {
  if (overflow === undefined) return undefined
  const policy = overflowPolicies.find((one) => overflowPolicyNumbers[one] === overflow.policy)
  if (policy === undefined) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `overflow.policy must be 1 to 4 (see ratatoskr.v1.OverflowPolicy), got ${overflow.policy}`,
    )
  }
  const { messagesMax, bytesMax } = overflow
  return { policy, messagesMax: messagesMax || undefined, bytesMax: bytesMax || undefined }
}

/** Undefined when no position is set. @throws RTK_INVALID_ARGUMENT */
export function positionFromProto(position: proto.StartPosition | undefined): StartPosition | undefined {
  if (position === undefined) return undefined
  const { edge, offset, timestampMs, offsets } = position
  if (edge !== undefined) return edgeFromProto(edge)
  if (offset !== undefined) return { offset }
  if (timestampMs !== undefined) return { timestampMs }
  if (offsets === undefined) return undefined
  const { otherwise } = offsets
  return otherwise === proto.Edge.EDGE_UNSPECIFIED
    ? { offsets: offsets.offsets }
    : { offsets: offsets.offsets, otherwise: edgeFromProto(otherwise) }
}

/** As `positionFromProto`, where a position must be set. @throws RTK_INVALID_ARGUMENT */
export function requiredPosition(position: proto.StartPosition | undefined): StartPosition {
  const found = positionFromProto(position)
  if (found !== undefined) return found
  throw missing('position')
}

/** @throws RTK_INVALID_ARGUMENT */
export function edgeFromProto(edge: proto.Edge): 'earliest' | 'latest' {
  if (edge === proto.Edge.EDGE_EARLIEST) return 'earliest'
  if (edge === proto.Edge.EDGE_LATEST) return 'latest'
  throw new RatatoskrError('RTK_INVALID_ARGUMENT', `edge must be EARLIEST (1) or LATEST (2), got ${edge}`)
}

/** @throws RTK_INVALID_ARGUMENT when it is not set */
export function outgoingFromProto(message: proto.OutgoingMessage | undefined): OutgoingMessage {
  if (message === undefined) throw missing('message')
  const { payload, key, headers, id, timestampMs, ttlMs, expiresAtMs, partition } = message
  const { deliverAtMs, delayMs } = message
  return {
    payload,
    key,
    headers: headers.map(({ name, value }) => [name, value] as const),
    id,
    timestampMs,
    ttlMs,
    expiresAtMs,
    partition,
    deliverAtMs,
    delayMs,
  }
}

/** A message that waits for its time has no place yet, for which the wire has no number. */
export const receiptToProto = (receipt: PublishReceipt): proto.PublishReceipt => ({
  id: receipt.id,
  partition: Math.max(0, receipt.partition),
  offset: Math.max(0, receipt.offset),
  deliverAtMs: receipt.deliverAtMs,
  durability: durabilityToProto(receipt.durability),
  duplicate: receipt.duplicate ?? false,
})

/** What a batch's receipt says of duplicates. */
export const duplicatesToProto = ({
  duplicate = false,
  duplicates = [],
}: BatchReceipt): { duplicate: boolean; duplicates: proto.DuplicateRecord[] } => ({
  duplicate,
  duplicates: duplicates.map(({ index, partition, offset }) => ({ index, partition, offset })),
})

export const fetchedToProto = (fetched: FetchedBatch): proto.FetchedBatches => ({
  partition: fetched.partition,
  fromOffset: fetched.fromOffset,
  nextOffset: fetched.nextOffset,
  startOffset: fetched.startOffset,
  stableOffset: fetched.stableOffset,
  batches: fetched.bytes,
  messages: [],
})

export const offsetsToProto = (offsets: readonly PartitionOffset[]): proto.PartitionOffset[] =>
  offsets.map(({ partition, offset }) => ({ partition, offset }))

export function groupToProto(group: GroupDescription): proto.GetGroupResponse {
  return {
    topic: group.topic,
    group: group.group,
    state:
      group.state === 'stable' ? proto.GroupState.GROUP_STATE_STABLE : proto.GroupState.GROUP_STATE_EMPTY,
    members: group.members.map(({ member, partitions }) => ({ member, partitions: [...partitions] })),
    partitions: group.partitions.map((partition) => ({ ...partition })),
    lag: group.lag,
  }
}

function missing(field: string): RatatoskrError {
  return new RatatoskrError('RTK_INVALID_ARGUMENT', `the field ${field} is required and was not set`)
}

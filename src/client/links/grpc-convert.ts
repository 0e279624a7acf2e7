/** Between the plain data of a link and the messages of `ratatoskr.v1`, for the client's side. */
import * as proto from '../../../proto/index.ts'
import { checkOverflow } from '../../domain/overflow.ts'
import {
  type BrokerStats,
  type CommittedOffset,
  type Compression,
  compressions,
  type DroppedMessages,
  type Durability,
  durabilityLevels,
  durabilityNumber,
  durabilityOfNumber,
  type GroupDescription,
  isDurability,
  LogStoreTally,
  type Overflow,
  type OverflowPolicy,
  type PartitionDescription,
  type PartitionOffset,
  quoteForMessage,
  RatatoskrError,
  type RetentionPolicy,
  retentionPolicies,
  type StartPosition,
  type SubscribeOptions,
  type TopicChanges,
  type TopicDescription,
} from '../../ports/index.ts'
import { topicSettings } from '../checks.ts'
import type { LinkFetched } from '../link.ts'
import { queueConfigToProto, queueSettingsFromProto } from './grpc-queue-config.ts'

/** @throws RTK_INVALID_ARGUMENT for a level that does not exist: on the wire it would mean that none was asked for */
export function durabilityToProto(level: Durability | undefined): proto.Durability {
  if (level === undefined) return proto.Durability.DURABILITY_UNSPECIFIED
  if (isDurability(level)) return (durabilityNumber(level) + 1) as proto.Durability
  throw invalid(`durability must be one of ${durabilityLevels.join(', ')}, got ${quoteForMessage(level)}`)
}

/** @throws RTK_FRAME_MALFORMED for a level that this version does not know */
export function durabilityFromProto(value: number): Durability {
  const level = durabilityOfNumber(value - 1)
  if (level !== undefined) return level
  throw malformed(`the broker named durability ${value}, which this client does not know`)
}

/** @throws RTK_INVALID_ARGUMENT for a policy that does not exist: on the wire it would mean that none was asked for */
function policyToProto(policy: RetentionPolicy | undefined): proto.RetentionPolicy {
  if (policy === undefined) return proto.RetentionPolicy.RETENTION_POLICY_UNSPECIFIED
  if (retentionPolicies.includes(policy)) return proto.retentionPolicyNumbers[policy]
  throw invalid(`retention must be one of ${retentionPolicies.join(', ')}, got ${quoteForMessage(policy)}`)
}

/** A broker of before there were policies says nothing, and knows limits only. @throws RTK_FRAME_MALFORMED */
function policyFromProto(value: number): RetentionPolicy {
  if (value === proto.RetentionPolicy.RETENTION_POLICY_UNSPECIFIED) return 'limits'
  const policy = proto.wordOf(proto.retentionPolicyNumbers, value)
  if (policy !== undefined) return policy
  throw malformed(`the broker named retention policy ${value}, which this client does not know`)
}

/** @throws RTK_INVALID_ARGUMENT for a codec that does not exist */
function compressionToProto(codec: Compression | undefined): proto.Compression {
  if (codec === undefined) return proto.Compression.COMPRESSION_UNSPECIFIED
  if (compressions.includes(codec)) return proto.compressionNumbers[codec]
  throw invalid(`compression must be one of ${compressions.join(', ')}, got ${quoteForMessage(codec)}`)
}

/** A codec that this client does not know is none that it could use. */
const compressionFromProto = (value: number): Compression =>
  proto.wordOf(proto.compressionNumbers, value) ?? 'none'

/** @throws RTK_INVALID_ARGUMENT for fields and words that do not exist, which would be lost on the way without a word */
export const configToProto = (config: TopicChanges): proto.TopicConfig => ({
  ...topicSettings(config),
  durability: durabilityToProto(config.durability),
  retention: policyToProto(config.retention),
  compression: compressionToProto(config.compression),
  queue: config.queue === undefined ? undefined : queueConfigToProto(config.queue),
})

/** @throws RTK_FRAME_MALFORMED */
export function topicFromProto(topic: proto.Topic | undefined): TopicDescription {
  if (topic?.config === undefined) throw malformed('the broker described a topic without its configuration')
  const { partitions = 0, retentionMs = -1, retentionBytes = -1, segmentBytes = 0 } = topic.config
  const {
    durability,
    messageBytesMax = 0,
    retentionMessages = -1,
    retention,
    dedupWindowMs = 0,
    compression,
    queue,
  } = topic.config
  return {
    namespace: topic.namespace,
    name: topic.name,
    id: topic.id,
    createdAtMs: topic.createdAtMs,
    config: {
      partitions,
      retentionMs,
      retentionBytes,
      retentionMessages,
      retention: policyFromProto(retention),
      segmentBytes,
      durability: durabilityFromProto(durability),
      messageBytesMax,
      dedupWindowMs,
      compression: compressionFromProto(compression),
      ...(queue !== undefined && { queue: queueSettingsFromProto(queue) }),
    },
    partitions: topic.partitions.map(partitionFromProto),
  }
}

export const partitionFromProto = (partition: proto.Partition): PartitionDescription => ({
  partition: partition.partition,
  startOffset: partition.startOffset,
  stableOffset: partition.stableOffset,
  endOffset: partition.endOffset,
  sizeBytes: partition.sizeBytes,
  state: stateFromProto(partition.state),
  damaged: partition.damaged.map(({ from, to }) => ({ from, to })),
})

function stateFromProto(state: proto.PartitionState): PartitionDescription['state'] {
  if (state === proto.PartitionState.PARTITION_STATE_ONLINE) return 'online'
  return state === proto.PartitionState.PARTITION_STATE_FAILED ? 'failed' : 'recovering'
}

function edgeToProto(edge: 'earliest' | 'latest'): proto.Edge {
  if (edge === 'earliest') return proto.Edge.EDGE_EARLIEST
  if (edge === 'latest') return proto.Edge.EDGE_LATEST
  throw invalid(`expected earliest, latest or an offset, got ${quoteForMessage(edge)}`)
}

export function positionToProto(position: StartPosition): proto.StartPosition {
  if (typeof position === 'string') return { edge: edgeToProto(position) }
  if ('offset' in position) return { offset: position.offset }
  if ('timestampMs' in position) return { timestampMs: position.timestampMs }
  const { offsets, otherwise } = position
  const edge = otherwise === undefined ? proto.Edge.EDGE_UNSPECIFIED : edgeToProto(otherwise)
  return { offsets: { offsets: [...offsets], otherwise: edge } }
}

export const offsetOrEdge = (
  offset: number | 'earliest' | 'latest',
): Pick<proto.FetchRequest, 'offset' | 'edge'> =>
  typeof offset === 'number' ? { offset } : { edge: edgeToProto(offset) }

export const openToProto = (topic: string, options: SubscribeOptions): proto.OpenSubscription => ({
  topic,
  group: options.group ?? '',
  member: options.member ?? '',
  from: options.from === undefined ? undefined : positionToProto(options.from),
  partitions: [...(options.partitions ?? [])],
  credit: options.credit === undefined ? undefined : { bytes: options.credit.bytes ?? 0, messages: 0 },
  format: proto.DeliveryFormat.DELIVERY_FORMAT_BATCHES,
  overflow: options.overflow === undefined ? undefined : overflowToProto(options.overflow),
})

const overflowPolicyNumbers = {
  pause: proto.OverflowPolicy.OVERFLOW_POLICY_PAUSE,
  dropOldest: proto.OverflowPolicy.OVERFLOW_POLICY_DROP_OLDEST,
  dropNewest: proto.OverflowPolicy.OVERFLOW_POLICY_DROP_NEWEST,
  disconnect: proto.OverflowPolicy.OVERFLOW_POLICY_DISCONNECT,
} as const satisfies Record<OverflowPolicy, proto.OverflowPolicy>

/** On the wire 0 is no bound: here it would be a wrong one. */
function overflowToProto(overflow: Overflow): proto.Overflow {
  checkOverflow(overflow)
  const { policy, messagesMax = 0, bytesMax = 0 } = overflow
  return { policy: overflowPolicyNumbers[policy], messagesMax, bytesMax }
}

export const committedToProto = (offsets: readonly CommittedOffset[]): proto.CommittedOffset[] =>
  offsets.map(({ partition, offset, metadata = '' }) => ({ partition, offset, metadata }))

export const offsetsFromProto = (offsets: readonly proto.PartitionOffset[]): PartitionOffset[] =>
  offsets.map(({ partition, offset }) => ({ partition, offset }))

export const droppedFromProto = (dropped: proto.DroppedMessages): DroppedMessages => {
  const { partition, fromOffset, toOffset } = dropped
  return { partition, fromOffset, toOffset }
}

/** @throws RTK_FRAME_MALFORMED */
export function fetchedFromProto(fetched: proto.FetchedBatches | undefined): LinkFetched {
  if (fetched === undefined) throw malformed('the broker answered a fetch with nothing')
  const { partition, fromOffset, nextOffset, startOffset, stableOffset, batches } = fetched
  return { partition, fromOffset, nextOffset, startOffset, stableOffset, bytes: batches }
}

export const groupFromProto = (group: proto.GetGroupResponse): GroupDescription => ({
  topic: group.topic,
  group: group.group,
  state: group.state === proto.GroupState.GROUP_STATE_STABLE ? 'stable' : 'empty',
  members: group.members.map(({ member, partitions }) => ({ member, partitions })),
  partitions: group.partitions.map((partition) => ({
    partition: partition.partition,
    committedOffset: partition.committedOffset,
    metadata: partition.metadata,
    stableOffset: partition.stableOffset,
    lag: partition.lag,
    member: partition.member,
  })),
  lag: group.lag,
})

/** A broker of before its storage counted says nothing of it. */
export const statsFromProto = (stats: proto.GetBrokerStatsResponse): BrokerStats => ({
  ...stats,
  storage: { ...(stats.storage ?? new LogStoreTally()) },
})

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)
const malformed = (message: string): RatatoskrError => new RatatoskrError('RTK_FRAME_MALFORMED', message)

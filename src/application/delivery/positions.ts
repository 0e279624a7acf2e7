/** Start positions: checking them, and finding the offsets that they stand for. */
import type { PartitionOffset, StartPosition } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import type { LiveTopic, ReadablePartition } from '../seams.ts'

/** @throws RTK_PARTITION_NOT_FOUND */
export function partitionOf(topic: LiveTopic, index: number): ReadablePartition {
  const partition = Number.isSafeInteger(index) ? topic.partitions[index] : undefined
  if (partition !== undefined) return partition
  throw new RatatoskrError(
    'RTK_PARTITION_NOT_FOUND',
    `${topic.text} has partitions 0 to ${topic.partitions.length - 1}, got ${String(index)}`,
  )
}

/**
 * The partitions asked for, all by default.
 * @throws RTK_PARTITION_NOT_FOUND, RTK_INVALID_ARGUMENT when none or one twice
 */
export function partitionsOf(topic: LiveTopic, indexes: readonly number[] | undefined): ReadablePartition[] {
  if (indexes === undefined) return [...topic.partitions]
  if (indexes.length === 0 || new Set(indexes).size !== indexes.length) {
    throw invalid('partitions must name at least one partition, and each once')
  }
  return indexes.map((index) => partitionOf(topic, index))
}

/**
 * Offsets where `position` is, one for each of `partitions`, looked up at once: what is published after the call is after
 * `latest`.
 * @throws RTK_OFFSET_OUT_OF_RANGE, RTK_INVALID_ARGUMENT, RTK_PARTITION_NOT_FOUND for a named partition that the topic lacks
 */
export async function resolvePosition(
  topic: LiveTopic,
  position: StartPosition,
  partitions: readonly ReadablePartition[],
): Promise<PartitionOffset[]> {
  assertPosition(topic, position)
  const offsets = partitions.map((partition) => offsetAt(partition, position))
  return await Promise.all(
    offsets.map(async (offset, i) => ({ partition: partitions[i].index, offset: await offset })),
  )
}

/** @throws RTK_INVALID_ARGUMENT, RTK_PARTITION_NOT_FOUND */
function assertPosition(topic: LiveTopic, position: StartPosition): void {
  if (position === 'earliest' || position === 'latest') return
  const given: unknown = position
  if (typeof given !== 'object' || given === null) {
    throw invalid(
      'a start position is earliest, latest, an offset, a timestamp, or an offset for each partition',
    )
  }
  if ('offset' in position) assertOffset('offset', position.offset)
  else if ('timestampMs' in position) {
    const { timestampMs } = position
    if (!Number.isSafeInteger(timestampMs) || timestampMs < 0)
      throw invalid('timestampMs must be whole Unix milliseconds')
  } else if (Array.isArray(position.offsets)) {
    for (const one of position.offsets as readonly unknown[]) {
      if (typeof one !== 'object' || one === null || !('partition' in one) || !('offset' in one))
        throw invalid('each of offsets names a partition and an offset')
      partitionOf(topic, one.partition as number)
      assertOffset('offset', one.offset)
    }
    const { otherwise } = position
    if (otherwise !== undefined && otherwise !== 'earliest' && otherwise !== 'latest') {
      throw invalid('otherwise must be earliest or latest')
    }
  } else {
    throw invalid(`a start position names an offset, a timestampMs, or offsets, got ${namesOf(given)}`)
  }
}

function offsetAt(partition: ReadablePartition, position: StartPosition): number | Promise<number> {
  if (position === 'earliest') return partition.startOffset
  if (position === 'latest') return partition.stableOffset
  if ('timestampMs' in position) return partition.offsetForTime(position.timestampMs)
  if ('offset' in position) return inRange(partition, position.offset)
  const named = position.offsets.findLast((one) => one.partition === partition.index)
  if (named !== undefined) return inRange(partition, named.offset)
  return position.otherwise === 'latest' ? partition.stableOffset : partition.startOffset
}

/** @throws RTK_OFFSET_OUT_OF_RANGE */
export function inRange(partition: ReadablePartition, offset: number): number {
  const { startOffset, stableOffset } = partition
  if (offset >= startOffset && offset <= stableOffset) return offset
  throw outOfRange(partition, offset)
}

export function outOfRange(partition: ReadablePartition, requested: number): RatatoskrError {
  const { index, startOffset, stableOffset } = partition
  return new RatatoskrError(
    'RTK_OFFSET_OUT_OF_RANGE',
    `partition ${index} holds offsets ${startOffset} to ${stableOffset}, got ${requested}; seek to earliest or latest`,
    { details: { partition: index, requested, startOffset, stableOffset } },
  )
}

/** @throws RTK_INVALID_ARGUMENT */
export function assertOffset(name: string, value: unknown): asserts value is number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw invalid(`${name} must be a whole number of at least 0, got ${String(value)}`)
  }
}

/**
 * A bound that the caller may give, at most `valueMax`.
 * @throws RTK_INVALID_ARGUMENT when it is no whole number of at least `valueMin`
 */
export function boundOf(name: string, value: number | undefined, valueMin: number, valueMax: number): number {
  if (value === undefined) return valueMax
  if (!(value >= valueMin) || (value !== Number.POSITIVE_INFINITY && !Number.isSafeInteger(value))) {
    throw invalid(`${name} must be a whole number of at least ${valueMin}, got ${String(value)}`)
  }
  return Math.min(value, valueMax)
}

/** The keys that somebody gave, as far as a message may hold them. */
const namesOf = (given: object): string =>
  JSON.stringify(
    Object.keys(given)
      .slice(0, 5)
      .map((name) => name.slice(0, 40)),
  )

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

/** Reads without a subscription: one partition, from an offset, waiting for the first message if asked to. */
import type { CallOptions, Clock, FetchedBatch, FetchRequest, Limits } from '../../ports/index.ts'
import { endOffsetOf } from '../../ports/index.ts'
import { throwIfAborted } from '../calls.ts'
import type { LiveTopic, ReadablePartition } from '../seams.ts'
import { assertOffset, boundOf, inRange, partitionOf } from './positions.ts'
import { lookAgainMs, type Waits } from './wait.ts'

export interface FetchHost {
  readonly clock: Clock
  readonly limits: Limits
  readonly waits: Waits
}

/**
 * @throws RTK_PARTITION_NOT_FOUND, RTK_OFFSET_OUT_OF_RANGE, RTK_INVALID_ARGUMENT, RTK_CANCELLED, RTK_TIMEOUT; what the
 *   partition's read throws
 */
export async function fetchBatch(
  topic: LiveTopic,
  request: FetchRequest,
  host: FetchHost,
  call: CallOptions | undefined,
): Promise<FetchedBatch> {
  const { clock, limits, waits } = host
  const partition = partitionOf(topic, request.partition)
  const bytesMax = boundOf('bytesMax', request.bytesMax, 1, limits.deliveryBytesMax)
  const waitMs = boundOf('waitMs', request.waitMs ?? 0, 0, limits.fetchWaitMsMax)
  const offset = startOf(partition, request.offset)
  const deadlineMs = clock.monotonic() + waitMs
  for (;;) {
    throwIfAborted(call?.signal)
    const bytes = await partition.read(inRange(partition, offset), bytesMax)
    const { startOffset, stableOffset } = partition
    const nextOffset = endOffsetOf(bytes) ?? offset
    const leftMs = deadlineMs - clock.monotonic()
    if (bytes.length > 0 || leftMs <= 0) {
      const { index } = partition
      return {
        topicId: topic.id,
        partition: index,
        bytes,
        fromOffset: offset,
        nextOffset,
        startOffset,
        stableOffset,
      }
    }
    // What came while the empty read was under way wakes nobody any more.
    const waitLongMs = stableOffset === offset ? leftMs : Math.min(leftMs, lookAgainMs)
    await waits.wait([partition], waitLongMs, call?.signal)
  }
}

function startOf(partition: ReadablePartition, offset: FetchRequest['offset']): number {
  if (offset === 'earliest') return partition.startOffset
  if (offset === 'latest') return partition.stableOffset
  assertOffset('offset', offset)
  return offset
}

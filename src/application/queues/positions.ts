/** Where a partition of a queue group stands: as it is described, and as it is stored. */
import type { QueueCheckpoint } from '../../domain/queue/checkpoint.ts'
import type { LeaseTableApi } from '../../domain/queue/lease-types.ts'
import type { QueuePartitionDescription } from '../../ports/index.ts'
import type { ReadablePartition } from '../seams.ts'

/** A group that begins at an offset, and has done nothing yet. */
export const beginAt = (offset: number): QueueCheckpoint => ({
  floor: offset,
  epoch: 0,
  deliveryBound: offset,
  settled: [],
  tried: [],
})

/**
 * The same without what lies at or beyond `end`, where the log ends: what will be stored there is new, whatever was known of
 * those offsets before the log lost its tail, and however far the bound of deliveries was ahead.
 */
export function clippedCheckpoint(checkpoint: QueueCheckpoint, end: number): QueueCheckpoint {
  const { floor, epoch, deliveryBound, settled, tried } = checkpoint
  const last = Math.max(settled.at(-1) ?? 0, tried.at(-1)?.to ?? 0, floor)
  if (last <= end && deliveryBound <= end) return checkpoint
  return {
    floor: Math.min(floor, end),
    epoch,
    deliveryBound: Math.min(deliveryBound, end),
    settled: clippedRanges(settled, end),
    tried: tried.filter(({ from }) => from < end).map((run) => ({ ...run, to: Math.min(run.to, end) })),
  }
}

/** True when a checkpoint has a message not as settled. */
export function isOwed({ floor, settled }: QueueCheckpoint, offset: number): boolean {
  if (offset < floor) return false
  for (let i = 0; i < settled.length && settled[i] <= offset; i += 2)
    if (offset < settled[i + 1]) return false
  return true
}

type Stands = Pick<QueuePartitionDescription, 'ackedOffset' | 'lag' | 'inFlight' | 'delayed'>

/** What is known of a partition, stored or not. */
interface Known {
  readonly table: LeaseTableApi | undefined
  /** What is known while there is no table yet. */
  readonly begin: QueueCheckpoint
}

export function whereItStands(log: ReadablePartition, { table, begin }: Known): Stands {
  const { startOffset, stableOffset } = log
  const { settled, floor } = table?.checkpoint() ?? begin
  const from = Math.max(floor, startOffset)
  let lag = Math.max(0, stableOffset - from)
  for (let i = 0; i < settled.length; i += 2) {
    lag -= Math.max(0, Math.min(settled[i + 1], stableOffset) - Math.max(settled[i], from))
  }
  return { ackedOffset: floor, lag, inFlight: table?.leased ?? 0, delayed: table?.delayed ?? 0 }
}

function clippedRanges(ranges: readonly number[], end: number): number[] {
  const clipped: number[] = []
  for (let i = 0; i < ranges.length && ranges[i] < end; i += 2) {
    clipped.push(ranges[i], Math.min(ranges[i + 1], end))
  }
  return clipped
}

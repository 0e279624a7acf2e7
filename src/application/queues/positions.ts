/** Where a partition of a queue group stands: as it is described, and as it is stored. */
import { addSettled, type QueueCheckpoint, type TriedRun } from '../../domain/queue/checkpoint.ts'
import type { LeaseTableApi } from '../../domain/queue/lease-types.ts'
import type { OffsetRange, QueuePartitionDescription } from '../../ports/index.ts'
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
  const { floor, epoch, deliveryBound, settled, tried, failures } = checkpoint
  const last = Math.max(settled.at(-1) ?? 0, tried.at(-1)?.to ?? 0, floor)
  if (last <= end && deliveryBound <= end) return checkpoint
  return {
    floor: Math.min(floor, end),
    epoch,
    deliveryBound: Math.min(deliveryBound, end),
    settled: clippedRanges(settled, end),
    tried: tried.filter(({ from }) => from < end).map((run) => ({ ...run, to: Math.min(run.to, end) })),
    ...(failures !== undefined && { failures: failures.filter(({ offset }) => offset < end) }),
  }
}

/** The same with these ranges settled as well, which are ascending and settled nowhere else. */
export function withSettled(checkpoint: QueueCheckpoint, ranges: readonly OffsetRange[]): QueueCheckpoint {
  if (ranges.length === 0) return checkpoint
  let { floor } = checkpoint
  const settled: number[] = []
  const add = (from: number, to: number): void => {
    if (from <= floor) floor = to
    else addSettled(settled, from, to)
  }
  let next = 0
  for (let i = 0; i < checkpoint.settled.length; i += 2) {
    for (; next < ranges.length && ranges[next].from < checkpoint.settled[i]; next++) {
      add(ranges[next].from, ranges[next].to)
    }
    add(checkpoint.settled[i], checkpoint.settled[i + 1])
  }
  for (; next < ranges.length; next++) add(ranges[next].from, ranges[next].to)
  return { ...checkpoint, floor, settled, tried: without(checkpoint.tried, ranges) }
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

/** @param nowMs as the group counts the time of retries */
export function whereItStands(log: ReadablePartition, { table, begin }: Known, nowMs: number): Stands {
  const { startOffset, stableOffset } = log
  const floor = table?.floor ?? begin.floor
  const from = Math.max(floor, startOffset)
  // What retention has deleted, and the group is still to find out, is known from a walk over all only.
  const isAhead = table === undefined || startOffset > floor
  const { settled, tried } = isAhead ? (table?.checkpoint() ?? begin) : table.ahead()
  let lag = Math.max(0, stableOffset - from)
  if (!isAhead) lag -= Math.max(0, table.nextOffset - from - table.unsettled)
  for (let i = 0; i < settled.length; i += 2) {
    lag -= Math.max(0, Math.min(settled[i + 1], stableOffset) - Math.max(settled[i], from))
  }
  // What was not looked at since the start is known from the store only.
  const ahead = table?.nextOffset ?? 0
  let delayed = table?.delayed ?? 0
  for (const run of tried) {
    if (run.dueMs > nowMs) delayed += Math.max(0, run.to - Math.max(run.from, ahead, from))
  }
  return { ackedOffset: floor, lag: Math.max(0, lag), inFlight: table?.leased ?? 0, delayed }
}

/** What is left of tried runs outside of these ranges, which are ascending. */
function without(tried: readonly TriedRun[], ranges: readonly OffsetRange[]): TriedRun[] {
  const left: TriedRun[] = []
  let range = 0
  for (const run of tried) {
    let { from } = run
    while (range < ranges.length && ranges[range].to <= from) range++
    for (let i = range; i < ranges.length && ranges[i].from < run.to; i++) {
      if (from < ranges[i].from) left.push({ ...run, from, to: ranges[i].from })
      from = ranges[i].to
    }
    if (from < run.to) left.push({ ...run, from })
  }
  return left
}

function clippedRanges(ranges: readonly number[], end: number): number[] {
  const clipped: number[] = []
  for (let i = 0; i < ranges.length && ranges[i] < end; i += 2) {
    clipped.push(ranges[i], Math.min(ranges[i + 1], end))
  }
  return clipped
}

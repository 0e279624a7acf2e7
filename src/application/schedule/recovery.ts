/**
 * What the scheduler does at start: finds what its last run delivered without noting so, and reads back what waits.
 */

import type { Doubt } from '../../domain/schedule/checkpoint.ts'
import type { Logger } from '../../ports/index.ts'
import type { Topic } from '../topics/topic.ts'
import { type Breather, walkRecords } from './log-walk.ts'
import type { ScheduleState } from './schedule-state.ts'
import { deliveredMark, readScheduled, scheduledMark, sizeOfScheduled } from './scheduled-record.ts'

export interface RecoveryParts {
  readonly breather: Breather
  readonly logger: Logger
  /** The topic of an id; undefined when it was deleted. */
  readonly topicOf: (topicId: string) => Topic | undefined
}

/**
 * Looks through the partitions in doubt. What is found is in `foundDelivered`; partitions that cannot be read now stay in
 * doubt, and nothing may be delivered to their topics until they were.
 */
export async function resolveDoubts(state: ScheduleState, parts: RecoveryParts): Promise<void> {
  const { positions, foundDelivered } = state
  if (positions.unresolved.length === 0) return
  const left: Doubt[] = []
  for (const doubt of positions.unresolved) {
    const partition = parts.topicOf(doubt.topicId)?.partitions[doubt.partition]
    if (partition === undefined) continue
    if (partition.state !== 'online') {
      left.push(doubt)
      continue
    }
    const found = foundDelivered.get(doubt.topicId) ?? new Set()
    foundDelivered.set(doubt.topicId, found)
    const fromOffset = Math.max(doubt.fromOffset, partition.startOffset)
    try {
      await walkRecords(
        partition,
        fromOffset,
        { breather: parts.breather, expansion: undefined },
        (cursor) => {
          const mark = deliveredMark(cursor)
          if (mark !== undefined) found.add(mark)
        },
        () => {},
      )
    } catch (error) {
      parts.logger.warn(
        'a partition cannot be searched for scheduled messages that it has already; it is tried again',
        {
          topicId: doubt.topicId,
          partition: doubt.partition,
          error,
        },
      )
      left.push(doubt)
    }
  }
  positions.unresolved = left
}

/** Takes out of the index what was found to be delivered, for a topic whose partitions could not be read at start. */
export function finishDelivered(state: ScheduleState, topicId: string): void {
  const found = state.foundDelivered.get(topicId)
  if (found === undefined) return
  for (const slot of state.index.slotsOf(topicId)) {
    if (found.has(scheduledMark(state.index.orderOf(slot), state.index.idOf(slot)))) state.finish(slot)
  }
  state.foundDelivered.delete(topicId)
}

/** Reads the log from its first record that is not done, and fills the index. @throws what a read throws */
export async function readBack(state: ScheduleState, { breather, logger }: RecoveryParts): Promise<void> {
  const { log, positions, index, foundDelivered } = state
  let unknown = 0
  await positions.cut(log.stableOffset)
  positions.done.raise(log.startOffset)
  await walkRecords(
    log,
    positions.done.floor,
    { breather, expansion: undefined },
    (cursor) => {
      const { offset } = cursor
      if (positions.done.has(offset)) return
      const record = readScheduled(cursor)
      if (record === undefined) {
        unknown++
        positions.markDone(offset)
        return
      }
      const { schedule, id, deliverAtMs } = record
      const { topicId, kind } = schedule
      const order = schedule.order === -1 ? offset : schedule.order
      const slot = index.find(topicId, id, order)
      if (kind === 'cancel') {
        if (slot !== -1) state.finish(slot)
        positions.markDone(offset)
      } else if (foundDelivered.get(topicId)?.has(scheduledMark(order, id))) {
        positions.markDone(offset)
      } else if (slot !== -1) {
        // The same message, written again to let the start of the log go.
        positions.markDone(index.offsetOf(slot))
        index.moved(slot, offset)
      } else {
        index.add(topicId, id, 0, deliverAtMs, order, offset, sizeOfScheduled(record))
      }
    },
    (from, to) => {
      logger.error('scheduled messages are lost to damage', { fromOffset: from, messages: to - from })
      for (let offset = from; offset < to; offset++) positions.markDone(offset)
    },
  )
  if (unknown > 0)
    logger.error('records of the scheduler cannot be read and are passed over', { records: unknown })
}

/**
 * The headers of scheduled messages.
 *
 * In the scheduler's log each record has, besides what its producer gave it, `rtk-deliver-at` and as its last header
 * `rtk-schedule`, which says what the record is:
 *
 *     at  0  int8   1: a message, 2: the message of this order is cancelled
 *     at  1  16     id of the topic
 *     at 17  int32  the partition that the producer chose; -1 when he chose none
 *     at 21  int64  order: the offset that the message had first in this log; -1 when that is where this record is
 *
 * In its topic the message has `rtk-deliver-at` and as its last header `rtk-schedule-order`, int64, by which a broker that
 * crashed between delivering and noting so finds it again.
 */
import { readInt32, readInt64, writeInt32, writeInt64 } from '../batch/bytes.ts'
import { formatUuid, parseUuid } from '../message-id.ts'

/** When a message was to be delivered: int64 big-endian, Unix milliseconds. Consumers see it. */
export const deliverAtHeaderName = 'rtk-deliver-at'
/** What a record of the scheduler's log is. */
export const scheduleHeaderName = 'rtk-schedule'
/** A delivered message's place in the order of acceptance. */
export const orderHeaderName = 'rtk-schedule-order'

const messageKind = 1
const cancelKind = 2
const scheduleHeaderBytes = 29

/** What a record of the scheduler's log is. */
export interface ScheduleHeader {
  readonly kind: 'message' | 'cancel'
  readonly topicId: string
  /** -1 when the producer chose none. */
  readonly partition: number
  /** -1 for a message that was not moved since it was accepted. */
  readonly order: number
}

export function encodeScheduleHeader({ kind, topicId, partition, order }: ScheduleHeader): Uint8Array {
  const bytes = new Uint8Array(scheduleHeaderBytes)
  bytes[0] = kind === 'message' ? messageKind : cancelKind
  bytes.set(parseUuid(topicId), 1)
  writeInt32(bytes, 17, partition)
  writeInt64(bytes, 21, order)
  return bytes
}

/** The header's content; undefined when it is none that this broker knows. */
export function decodeScheduleHeader(bytes: Uint8Array): ScheduleHeader | undefined {
  const known = bytes.length === scheduleHeaderBytes && (bytes[0] === messageKind || bytes[0] === cancelKind)
  if (!known) return undefined
  return {
    kind: bytes[0] === messageKind ? 'message' : 'cancel',
    topicId: formatUuid(bytes, 1),
    partition: readInt32(bytes, 17),
    order: readInt64(bytes, 21),
  }
}

/** A number as the value of a header. */
export function int64Value(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  writeInt64(bytes, 0, value)
  return bytes
}

/** The number in a header's value; undefined when it is of another length. */
export const int64Of = (bytes: Uint8Array): number | undefined =>
  bytes.length === 8 ? readInt64(bytes, 0) : undefined

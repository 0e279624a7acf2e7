/** The records of the scheduler: as they wait in its log, and as they come into their topics. */
import type { RecordFields } from '../../domain/batch/builder.ts'
import { utf8Size, utf8Text } from '../../domain/batch/bytes.ts'
import type { RecordCursor } from '../../domain/batch/cursor.ts'
import { isExpiryHeader } from '../../domain/batch/expiry-header.ts'
import { isIdHeader } from '../../domain/batch/id-header.ts'
import type { Header } from '../../domain/message.ts'
import {
  decodeScheduleHeader,
  deliverAtHeaderName,
  encodeScheduleHeader,
  int64Of,
  int64Value,
  orderHeaderName,
  type ScheduleHeader,
  scheduleHeaderName,
} from '../../domain/schedule/schedule-headers.ts'

const noBytes = new Uint8Array(0)

/** What the cursor's record says, with all that its producer gave it. Views on the log's bytes. */
export interface StoredMessage {
  readonly schedule: ScheduleHeader
  readonly id: Uint8Array
  readonly deliverAtMs: number
  readonly expiresAtMs: number | undefined
  readonly key: Uint8Array | undefined
  readonly payload: Uint8Array
  /** Without those by which the scheduler knows its records. */
  readonly headers: readonly Header[]
}

/** The record as a scheduled message or a cancellation; undefined when it is neither. */
export function readScheduled(cursor: RecordCursor): StoredMessage | undefined {
  const { bytes, keyStart, keyEnd, valueStart, valueEnd, expiresAtMs } = cursor
  const headers: Header[] = []
  let id: Uint8Array | undefined
  let schedule: ScheduleHeader | undefined
  let deliverAtMs: number | undefined
  while (cursor.nextHeader()) {
    const value = bytes.subarray(Math.max(0, cursor.headerValueStart), cursor.headerValueEnd)
    if (isIdHeader(cursor)) {
      id = value
      continue
    }
    if (isExpiryHeader(cursor)) continue
    const name = utf8Text(bytes.subarray(cursor.headerNameStart, cursor.headerNameEnd))
    if (name === scheduleHeaderName) schedule = decodeScheduleHeader(value)
    else if (name === deliverAtHeaderName) deliverAtMs = int64Of(value)
    else headers.push([name, value])
  }
  if (id === undefined || schedule === undefined || deliverAtMs === undefined) return undefined
  return {
    schedule,
    id,
    deliverAtMs,
    expiresAtMs,
    key: keyStart === -1 ? undefined : bytes.subarray(keyStart, keyEnd),
    payload: valueStart === -1 ? noBytes : bytes.subarray(valueStart, valueEnd),
    headers,
  }
}

/** The record that keeps a message until it is due. */
export const waitingRecord = (
  message: Omit<StoredMessage, 'schedule'>,
  schedule: ScheduleHeader,
  nowMs: number,
): RecordFields => ({
  payload: message.payload,
  key: message.key,
  headers: [
    ...message.headers,
    [deliverAtHeaderName, int64Value(message.deliverAtMs)],
    [scheduleHeaderName, encodeScheduleHeader(schedule)],
  ],
  id: message.id,
  expiresAtMs: message.expiresAtMs,
  timestampMs: nowMs,
})

/** The record that the message becomes in its topic. It enters the topic now, and that is its time. */
export const dueRecord = (message: StoredMessage, order: number, nowMs: number): RecordFields => ({
  payload: message.payload,
  key: message.key,
  headers: [
    ...message.headers,
    [deliverAtHeaderName, int64Value(message.deliverAtMs)],
    [orderHeaderName, int64Value(order)],
  ],
  id: message.id,
  expiresAtMs: message.expiresAtMs,
  timestampMs: nowMs,
})

/** What tells a message that was scheduled from every other: its place in the order of acceptance, and its id. */
export const scheduledMark = (order: number, id: Uint8Array): string => `${order}:${hexOf(id)}`

/** The mark of a record in a topic; undefined for one that the scheduler did not put there. */
export function deliveredMark(cursor: RecordCursor): string | undefined {
  let id: Uint8Array | undefined
  let order: number | undefined
  while (cursor.nextHeader()) {
    const { bytes, headerNameStart, headerNameEnd, headerValueStart, headerValueEnd } = cursor
    if (isIdHeader(cursor)) id = bytes.subarray(headerValueStart, headerValueEnd)
    else if (
      headerNameEnd - headerNameStart === orderHeaderName.length &&
      utf8Text(bytes.subarray(headerNameStart, headerNameEnd)) === orderHeaderName
    ) {
      order = int64Of(bytes.subarray(Math.max(0, headerValueStart), headerValueEnd))
    }
  }
  return id === undefined || order === undefined ? undefined : scheduledMark(order, id)
}

function hexOf(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}

/** Bytes of a message, as its producer gave it. */
export function sizeOfScheduled({
  payload,
  key,
  headers,
}: Pick<StoredMessage, 'payload' | 'key' | 'headers'>): number {
  let sizeBytes = payload.length + (key?.length ?? 0)
  for (const [name, value] of headers) sizeBytes += utf8Size(name) + value.length
  return sizeBytes
}

/**
 * Messages that are for one queue group only: dead letters that were redriven to the group that had given them up. A record
 * says so by a header, and its batch by a bit of its attributes, so that what is for everybody, which is nearly all, costs one
 * look at each batch. Queue groups pass over what is for another; everybody else sees it.
 */
import { utf8, writeInt32 } from './bytes.ts'
import type { RecordCursor } from './cursor.ts'
import { crcStart } from './header.ts'

/** Names the group that a message was redriven from. */
export const redriveGroupHeaderName = 'rtk-redrive-group'

const headerName = utf8(redriveGroupHeaderName)
/** Bit 13 of the attributes, in the higher of their bytes. Kafka leaves it unused. */
const addressedBit = 0x20
const attributesAt = 21

/** True when records of the batch may be for one group only. */
export const isAddressed = (bytes: Uint8Array, at = 0): boolean =>
  (bytes[at + attributesAt] & addressedBit) !== 0

/** Marks a batch whose records are for the groups that their headers name. Its CRC is written anew. */
export function markAddressed(batch: Uint8Array, checksum: (bytes: Uint8Array) => number): void {
  batch[attributesAt] |= addressedBit
  writeInt32(batch, 17, checksum(batch.subarray(crcStart)))
}

/** True when the record that the cursor is at names another group than this one. */
export function isForAnotherGroup(cursor: RecordCursor, group: Uint8Array): boolean {
  let isForAnother = false
  const { bytes } = cursor
  cursor.eachHeader((nameStart, nameEnd, valueStart, valueEnd) => {
    if (!equals(bytes, nameStart, nameEnd, headerName)) return
    isForAnother = valueStart === -1 || !equals(bytes, valueStart, valueEnd, group)
  })
  return isForAnother
}

function equals(bytes: Uint8Array, start: number, end: number, wanted: Uint8Array): boolean {
  if (end - start !== wanted.length) return false
  for (let i = 0; i < wanted.length; i++) if (bytes[start + i] !== wanted[i]) return false
  return true
}

/** What a store was given, as the model sees it: records out of batches, read by the format alone. */
import { batchStarts, RecordCursor, utf8Text } from 'ratatoskr/ports'

/** One record of a log. */
export interface StoredRecord {
  readonly offset: number
  /** The first word of the payload: the publisher gives each message another one. */
  readonly name: string
  /** Empty without a key. */
  readonly key: string
  /** Unix milliseconds; Infinity when it never expires. */
  readonly expiresAtMs: number
  readonly headers: ReadonlyMap<string, string>
}

const cursor = new RecordCursor()

/** The records of whole batches. */
export function recordsOf(bytes: Uint8Array): StoredRecord[] {
  const records: StoredRecord[] = []
  for (const at of batchStarts(bytes)) {
    cursor.open(bytes, at)
    while (cursor.next()) records.push(recordHere())
  }
  return records
}

function recordHere(): StoredRecord {
  const { bytes, offset, keyStart, keyEnd, valueStart, valueEnd } = cursor
  const expiresAtMs = cursor.expiresAtMs ?? Number.POSITIVE_INFINITY
  const text = (from: number, to: number): string => (from === -1 ? '' : utf8Text(bytes.subarray(from, to)))
  const [name] = text(valueStart, valueEnd).split(' ', 1)
  const key = text(keyStart, keyEnd)
  const headers = new Map<string, string>()
  const { end } = cursor
  cursor.eachHeader((nameStart, nameEnd, from, to) => headers.set(text(nameStart, nameEnd), text(from, to)))
  cursor.end = end
  return { offset, name, key, expiresAtMs, headers }
}

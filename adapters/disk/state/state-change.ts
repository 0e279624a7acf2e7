/**
 * A change of the state as a record batch: a record is one key, its value as payload, its version as header `v` (8 bytes,
 * big-endian); version 0 deletes the key. See FORMAT.md.
 */
import {
  BatchBuilder,
  batchSizeOf,
  type Checksum,
  type Header,
  type PlannedChange,
  type RecordCursor,
  type StateTable,
  stampBatch,
  utf8,
  utf8Text,
} from 'ratatoskr/ports'

const noBytes = new Uint8Array(0)
const snapshotBatchBytes = 1024 * 1024

/** Changes nothing: no key is empty, so there is none to delete. Earlier versions, which do not know it, see it so too. */
const nothingChanged: PlannedChange = { key: '', value: undefined, version: 0 }

/** Makes batches of changes. */
export class ChangeEncoder {
  readonly #builder: BatchBuilder

  constructor(checksum: Checksum) {
    this.#builder = new BatchBuilder({ checksum })
  }

  /** The batch of one change, which may be of several keys, at an offset of the file. */
  encode(changes: readonly PlannedChange[], offset: number, nowMs: number): Uint8Array {
    for (const { key, value, version } of changes) {
      const headers: readonly Header[] = [['v', versionBytes(version)]]
      this.#builder.add({ key: utf8(key), payload: value ?? noBytes, headers, timestampMs: nowMs })
    }
    const batch = this.#builder.build()
    stampBatch(batch, offset, 0)
    return batch
  }
}

/** The changes in the batch at `at`; values are copies. */
export function changesOf(cursor: RecordCursor, bytes: Uint8Array, at: number): PlannedChange[] {
  const changes: PlannedChange[] = []
  cursor.open(bytes.subarray(at, at + batchSizeOf(bytes, at)))
  while (cursor.next()) {
    const { bytes: records } = cursor
    let version = 0
    while (cursor.nextHeader()) {
      const view = new DataView(records.buffer, records.byteOffset + cursor.headerValueStart, 8)
      version = Number(view.getBigUint64(0))
    }
    const key = utf8Text(records.subarray(cursor.keyStart, cursor.keyEnd))
    if (key === nothingChanged.key) continue
    const value =
      version === 0 ? undefined : new Uint8Array(records.subarray(cursor.valueStart, cursor.valueEnd))
    changes.push({ key, value, version })
  }
  return changes
}

function versionBytes(version: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(version))
  return bytes
}

/**
 * The whole table in portions that make batches of about 1 MiB. Never none: a file without a batch would not tell an empty
 * table from one that is gone.
 */
export function* portionsOf(table: StateTable): Generator<readonly PlannedChange[], void, undefined> {
  if (table.size === 0) yield [nothingChanged]
  let portion: PlannedChange[] = []
  let bytes = 0
  for (const entry of table.list('')) {
    portion.push(entry)
    bytes += entry.key.length + entry.value.length
    if (bytes < snapshotBatchBytes) continue
    yield portion
    portion = []
    bytes = 0
  }
  if (portion.length > 0) yield portion
}

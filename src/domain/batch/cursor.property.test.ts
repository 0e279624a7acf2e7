/** The cursor against a reader that takes the layout literally, over records of all sizes and over bytes that were changed. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { BatchBuilder } from './builder.ts'
import { RecordCursor } from './cursor.ts'
import { batchHeaderBytes, recordCountOf } from './header.ts'

interface Places {
  readonly time: number
  readonly offset: number
  readonly key: readonly [number, number]
  readonly value: readonly [number, number]
  readonly headers: readonly [count: number, start: number]
  readonly end: number
}

/** Throws where a field leads out of its record, or a record out of the batch. */
function literally(batch: Uint8Array): Places[] {
  let at = batchHeaderBytes
  const varint = (bytesMax: number): bigint => {
    let bits = 0n
    for (let i = 0; i < bytesMax; i++) {
      const byte = batch[at++] ?? 0
      bits |= BigInt(byte & 0x7f) << BigInt(7 * i)
      if (byte < 0x80) {
        const raw = BigInt.asUintN(bytesMax === 5 ? 32 : 70, bits)
        return raw & 1n ? -(raw >> 1n) - 1n : raw >> 1n
      }
    }
    throw new Error('a varint without an end')
  }
  const int32 = () => Number(varint(5))
  const bytes = (length: number, end: number): [number, number] => {
    if (length < 0) return [-1, at]
    const start = at
    at += length
    if (at > end) throw new Error('beyond its record')
    return [start, at]
  }
  return Array.from({ length: recordCountOf(batch) }, () => {
    const length = int32()
    const end = at + length
    if (length < 6 || end > batch.length) throw new Error('beyond its batch')
    at++
    const time = Number(varint(10))
    const offset = int32()
    const key = bytes(int32(), end)
    const value = bytes(int32(), end)
    const count = int32()
    if (at > end || count < 0) throw new Error('ends within a field')
    const headers = [count, at] as const
    at = end
    return { time, offset, key, value, headers, end }
  })
}

function byCursor(batch: Uint8Array): Places[] {
  const cursor = new RecordCursor().open(batch)
  const found: Places[] = []
  while (cursor.next()) {
    const { timestampDeltaMs: time, offsetDelta: offset, keyStart, keyEnd, valueStart, valueEnd } = cursor
    const { headerCount, headersStart, end } = cursor
    const headers = [headerCount, headersStart] as const
    found.push({ time, offset, key: [keyStart, keyEnd], value: [valueStart, valueEnd], headers, end })
  }
  return found
}

function outcome(read: () => Places[]): Places[] | 'refused' {
  try {
    return read()
  } catch {
    return 'refused'
  }
}

const size = fc.oneof(fc.nat(70), fc.constantFrom(63, 64, 127, 128, 8_100, 8_191, 8_192, 20_000))
const bytesOf = (length: number): Uint8Array => new Uint8Array(length).fill(0xa5)
const record = fc.record({
  payload: size.map(bytesOf),
  key: fc.option(size.map(bytesOf), { nil: undefined }),
  headers: fc.option(
    fc.array(fc.tuple(fc.constantFrom('a', 'bc'), fc.nat(200).map(bytesOf)), { maxLength: 3 }),
    { nil: undefined },
  ),
  timestampMs: fc.oneof(fc.nat(200), fc.nat(20_000), fc.nat(2 ** 40)),
})

const batches = fc.array(record, { minLength: 1, maxLength: 150 }).map((records) => {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (const each of records) builder.add(each)
  return builder.build()
})

it('finds the fields of every record', () => {
  fc.assert(
    fc.property(batches, (batch) => {
      expect(byCursor(batch)).toEqual(literally(batch))
    }),
    { numRuns: 200 },
  )
})

it('finds the same in bytes that were changed, or refuses them', () => {
  const change = fc.tuple(fc.nat(400), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 127, 128, 255)))
  const small = fc.array(record, { minLength: 1, maxLength: 4 }).map((records) => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    for (const each of records)
      builder.add({ ...each, payload: each.payload.subarray(0, 40), key: undefined })
    return builder.build()
  })
  fc.assert(
    fc.property(small, fc.array(change, { minLength: 1, maxLength: 4 }), (batch, changes) => {
      const length = batch.length - batchHeaderBytes
      for (const [at, value] of changes) batch[batchHeaderBytes + (at % length)] = value
      expect(outcome(() => byCursor(batch))).toEqual(outcome(() => literally(batch)))
    }),
    { numRuns: 3_000 },
  )
})

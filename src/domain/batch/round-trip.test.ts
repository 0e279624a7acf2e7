/** What `BatchBuilder` writes, `verifyBatch` admits, and `RecordCursor` and `messagesOf` read back: the same. */
import fc from 'fast-check'
import { nodeCompression } from 'ratatoskr/adapters/node'
import { describe, expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { defaultLimits } from '../limits.ts'
import type { Header } from '../message.ts'
import { formatUuid } from '../message-id.ts'
import { BatchBuilder, type RecordFields } from './builder.ts'
import { utf8, utf8Text } from './bytes.ts'
import { RecordCursor } from './cursor.ts'
import * as fields from './header.ts'
import { messagesOf } from './messages.ts'
import { verifyBatch } from './verify.ts'

const codecs = nodeCompression()
const expansion = { codecs, bytesMax: defaultLimits.expandedBatchBytesMax }
const rules = { ...defaultLimits, checksum: portableCrc32c, records: expansion }
const source = { topic: 'orders', topicId: '3f0c8a52-9d0e-4a57-8f2e-6c1b7d9e0a11', partition: 3, expansion }

const headerName = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter((name) => !name.startsWith('rtk-') && !/\p{Cc}/u.test(name) && name.isWellFormed())
const bytes = fc.oneof(fc.uint8Array({ maxLength: 12 }), fc.uint8Array({ maxLength: 300 }))
const record: fc.Arbitrary<RecordFields> = fc.record({
  payload: bytes,
  key: fc.option(bytes, { nil: undefined }),
  headers: fc.option(
    fc.array(fc.tuple(fc.oneof(headerName, fc.constant('__proto__')), bytes), { maxLength: 4 }),
    {
      nil: undefined,
    },
  ),
  id: fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 }), { nil: undefined }),
  timestampMs: fc.oneof(
    fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
    fc.nat(),
    fc.nat(2 ** 52),
  ),
})

/** One record as plain values, whichever way it was read. */
const plain = (one: {
  key: Uint8Array | undefined
  payload: Uint8Array
  headers: readonly Header[]
  timestampMs: number
}) => ({
  key: one.key && [...one.key],
  payload: [...one.payload],
  headers: one.headers.map(([name, value]) => [name, [...value]]),
  timestampMs: one.timestampMs,
})

function readByCursor(batch: Uint8Array, cursor: RecordCursor) {
  const records = []
  cursor.open(batch)
  while (cursor.next()) {
    const headers: Header[] = []
    const part = (start: number, end: number): Uint8Array => cursor.bytes.subarray(start, end)
    cursor.eachHeader((nameStart, nameEnd, start, end) => {
      headers.push([utf8Text(part(nameStart, nameEnd)), part(start, end)])
    })
    records.push({
      offset: cursor.offset,
      ...plain({
        key: cursor.keyStart === -1 ? undefined : part(cursor.keyStart, cursor.keyEnd),
        payload: part(cursor.valueStart, cursor.valueEnd),
        headers,
        timestampMs: cursor.timestampMs,
      }),
    })
  }
  expect(cursor.end).toBe(cursor.limit)
  return records
}

const expected = (one: RecordFields) => plain({ ...one, key: one.key, headers: one.headers ?? [] })

describe.each([
  ['none', undefined],
  ['gzip', codecs.get(1)],
  ['snappy', codecs.get(2)],
  ['zstd', codecs.get(4)],
])('a batch with compression %s', (_, compression) => {
  const builder = new BatchBuilder({ checksum: portableCrc32c, initialBytes: 10, compression })

  it('comes back as it went in', () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 6 }),
        fc.nat(2 ** 40),
        (records, baseOffset) => {
          expect(records.map((one) => builder.add(one))).toEqual([...records.keys()])
          const batch = builder.build()
          expect(verifyBatch(batch, rules)).toBe(records.length)
          fields.stampBatch(batch, baseOffset, 1)
          const messages = [...messagesOf(batch, source)]
          expect(messages.map(plain)).toEqual(records.map(expected))
          messages.forEach((message, i) => {
            expect([message.topic, message.partition, message.offset]).toEqual(['orders', 3, baseOffset + i])
            const { id } = records[i]
            if (id !== undefined) expect(message.id).toBe(formatUuid(id))
          })
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('a batch without compression', () => {
  it('is read the same by the cursor, at any place among other bytes', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    const cursor = new RecordCursor()
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 6 }), fc.nat(20), (records, before) => {
        for (const { id: _, ...one } of records) builder.add(one)
        const batch = builder.build()
        const around = new Uint8Array(before + batch.length + 7).fill(0xff)
        around.set(batch, before)
        const seen = readByCursor(around.subarray(before, before + batch.length), cursor)
        expect(seen).toEqual(records.map((one, i) => ({ offset: i, ...expected(one) })))
      }),
    )
  })

  it('says in its header who made it, how many records it has and when they were', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    for (const timestampMs of [5_000, 2_000, 9_000, 7_000]) builder.add({ payload: utf8('x'), timestampMs })
    expect(builder.recordCount).toBe(4)
    const batch = builder.build({ producerId: 2 ** 40, epoch: 7, baseSequence: 11 })
    expect(fields.baseOffsetOf(batch)).toBe(0)
    expect(fields.leaderEpochOf(batch)).toBe(-1)
    expect([fields.baseTimestampOf(batch), fields.maxTimestampOf(batch)]).toEqual([5_000, 9_000])
    expect([fields.recordCountOf(batch), fields.lastOffsetDeltaOf(batch)]).toEqual([4, 3])
    expect(fields.producerIdOf(batch)).toBe(2 ** 40)
    expect([fields.producerEpochOf(batch), fields.baseSequenceOf(batch)]).toEqual([7, 11])
    expect([...messagesOf(batch, source)].map((m) => m.timestampMs)).toEqual([5_000, 2_000, 9_000, 7_000])
    expect(verifyBatch(batch, rules)).toBe(4)
  })

  it('has no producer unless it is given', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    builder.add({ payload: utf8('x'), timestampMs: 0 })
    const batch = builder.build()
    expect([fields.producerIdOf(batch), fields.producerEpochOf(batch), fields.baseSequenceOf(batch)]).toEqual(
      [-1, -1, -1],
    )
  })

  it('carries 1 MiB and nothing at all', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    const large = new Uint8Array(1_048_576).map((_, i) => i * 7)
    builder.add({ payload: large, timestampMs: 1 })
    builder.add({ payload: new Uint8Array(0), key: new Uint8Array(0), timestampMs: 1 })
    const batch = builder.build()
    verifyBatch(batch, rules)
    const [first, second] = messagesOf(batch, source)
    expect(Buffer.compare(first.payload, large)).toBe(0)
    expect([second.payload.length, second.key?.length]).toEqual([0, 0])
  })
})

describe('BatchBuilder', () => {
  it('knows its size before it builds, and begins anew after it', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    expect([builder.recordCount, builder.sizeBytes]).toEqual([0, fields.batchHeaderBytes])
    builder.add({ payload: utf8('one'), key: utf8('k'), timestampMs: 1 })
    const { sizeBytes } = builder
    const first = builder.build()
    expect(first).toHaveLength(sizeBytes)
    expect([builder.recordCount, builder.sizeBytes]).toEqual([0, fields.batchHeaderBytes])
    const kept = first.slice()
    builder.add({ payload: utf8('two'), timestampMs: 99 })
    expect(fields.baseTimestampOf(builder.build())).toBe(99)
    expect(first).toEqual(kept)
  })

  it('builds no batch without records', () => {
    expect(() => new BatchBuilder({ checksum: portableCrc32c }).build()).toThrow(TypeError)
  })
})

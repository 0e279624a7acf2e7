import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { murmur2 } from '../murmur2.ts'
import { BatchBuilder } from './builder.ts'
import { utf8 } from './bytes.ts'
import {
  baseOffsetOf,
  batchSizeOf,
  crcOf,
  crcStart,
  leaderEpochOf,
  nextOffsetOf,
  recordCountOf,
  stampBatch,
} from './header.ts'
import { messagesOf } from './messages.ts'
import { RecordScan, sliceBatch } from './slice.ts'

const gzip = {
  id: 1,
  compress: (bytes: Uint8Array): Uint8Array => gzipSync(bytes),
  decompress: (bytes: Uint8Array): Uint8Array => gunzipSync(bytes),
}
const expansion = { codecs: new Map([[1, gzip]]), bytesMax: 1_000_000 }
const source = { topic: 't', topicId: '00000000-0000-4000-8000-000000000000', partition: 0, expansion }

interface Fields {
  readonly text: string
  readonly key: string | undefined
  readonly expiresAtMs: number | undefined
}

function batchOf(records: readonly Fields[], compressed: boolean, baseOffset: number): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c, compression: compressed ? gzip : undefined })
  records.forEach(({ text, key, expiresAtMs }, i) => {
    const headers = i % 3 === 0 ? ([['h', utf8('v')]] as const) : undefined
    builder.add({
      payload: utf8(text),
      key: key === undefined ? undefined : utf8(key),
      timestampMs: 50 + i,
      headers,
      expiresAtMs,
    })
  })
  const batch = builder.build()
  stampBatch(batch, baseOffset, 3)
  return batch
}

const seen = (bytes: Uint8Array) =>
  [...messagesOf(bytes, source)].map((m) => [m.offset, m.timestampMs, m.key, m.payload, m.headers, m.id])

const fields: fc.Arbitrary<Fields> = fc.record({
  text: fc.string(),
  key: fc.option(fc.string(), { nil: undefined }),
  expiresAtMs: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
})
const records = fc.array(fields, { minLength: 1, maxLength: 12 })

describe('sliceBatch', () => {
  it('has the records of the ranges, as they are, in a valid batch', () => {
    fc.assert(
      fc.property(
        records,
        fc.boolean(),
        fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
        (given, compressed, wanted) => {
          const before = batchOf(given, compressed, 1_000)
          const bytes = Uint8Array.of(1, 2, 3, ...before)
          const ranges = wanted.flatMap((want, i) => (want ? [1_000 + i, 1_001 + i] : []))
          const slice = sliceBatch(bytes, 3, ranges, portableCrc32c, expansion)
          const expected = seen(before).filter((_, i) => wanted[i])
          if (slice === undefined) {
            expect(expected).toEqual([])
            return
          }
          expect(seen(slice)).toEqual(expected)
          expect(batchSizeOf(slice)).toBe(slice.length)
          expect(crcOf(slice)).toBe(portableCrc32c(slice.subarray(crcStart)))
          expect([baseOffsetOf(slice), leaderEpochOf(slice), recordCountOf(slice)]).toEqual([
            1_000,
            3,
            expected.length,
          ])
          expect(nextOffsetOf(slice)).toBe((expected.at(-1)?.[0] as number) + 1)
          // A slice can be sliced again.
          const last = nextOffsetOf(slice) - 1
          const again = sliceBatch(slice, 0, [last, last + 1], portableCrc32c, expansion) ?? slice
          expect(seen(again)).toEqual(expected.slice(-1))
        },
      ),
    )
  })

  it('is a view when the whole batch is wanted, compressed or not', () => {
    for (const compressed of [false, true]) {
      const batch = batchOf([{ text: 'a', key: 'k', expiresAtMs: undefined }], compressed, 7)
      const slice = sliceBatch(batch, 0, [0, 100], portableCrc32c, expansion)
      expect(slice?.buffer).toBe(batch.buffer)
      expect(slice).toEqual(batch)
    }
  })
})

describe('RecordScan', () => {
  it('tells keys, holes and what has expired, over several batches', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(5), records, fc.boolean()), { minLength: 1, maxLength: 4 }),
        fc.nat(8),
        (given, skipped) => {
          const scan = new RecordScan().begin(100 + skipped)
          const nowMs = 50
          let offset = 100
          const present = new Map<number, Fields>()
          for (const [gap, list, compressed] of given) {
            offset += gap
            scan.add(batchOf(list, compressed, offset), 0, nowMs, expansion, utf8('g'))
            for (const each of list) present.set(offset++, each)
          }
          const from = 100 + skipped
          expect(scan.to).toBe(Math.max(from, offset))
          const within = (ranges: readonly number[], at: number) =>
            ranges.some((start, i) => i % 2 === 0 && start <= at && at < ranges[i + 1])
          let nextExpiryMs = Number.POSITIVE_INFINITY
          for (let at = from; at < offset; at++) {
            const record = present.get(at)
            const key = record?.key
            expect(scan.keyHashes[at - from]).toBe(key === undefined ? 0 : murmur2(utf8(key)) || 1)
            expect(within(scan.absent, at)).toBe(record === undefined)
            const expiresAtMs = record?.expiresAtMs ?? Number.POSITIVE_INFINITY
            expect(within(scan.expired, at)).toBe(expiresAtMs <= nowMs)
            if (expiresAtMs > nowMs) nextExpiryMs = Math.min(nextExpiryMs, expiresAtMs)
          }
          expect(scan.nextExpiryMs).toBe(nextExpiryMs)
        },
      ),
    )
  })
})

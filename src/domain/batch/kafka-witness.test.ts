/** An independent witness of the layout: `@platformatic/kafka` reads what we write, and we read what it writes. */
import {
  type CompressionAlgorithmValue,
  crc32c,
  createRecordsBatch,
  Reader,
  readRecordsBatch,
} from '@platformatic/kafka'
import fc from 'fast-check'
import { nodeCompression } from 'ratatoskr/adapters/node'
import { describe, expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { defaultLimits } from '../limits.ts'
import { BatchBuilder } from './builder.ts'
import { utf8, utf8Text } from './bytes.ts'
import { crcOf, crcStart, stampBatch } from './header.ts'
import { messagesOf } from './messages.ts'
import { verifyBatch } from './verify.ts'

const codecs = nodeCompression()
const expansion = { codecs, bytesMax: defaultLimits.expandedBatchBytesMax }
const rules = { ...defaultLimits, checksum: portableCrc32c, records: expansion }
const source = { topic: 't', topicId: '3f0c8a52-9d0e-4a57-8f2e-6c1b7d9e0a11', partition: 0, expansion }

const bytes = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 100, maxLength: 2_000 }))
const name = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
  .filter((text) => !/\p{Cc}/u.test(text) && text.isWellFormed() && !text.startsWith('rtk-'))
const nearTimestampMs = fc.integer({ min: 1_700_000_000_000, max: 1_702_000_000_000 })
const recordAt = (timestampMs: fc.Arbitrary<number>) =>
  fc.record({
    payload: bytes,
    key: fc.option(bytes, { nil: undefined }),
    // The witness takes headers as a map and has no name twice.
    headers: fc.uniqueArray(fc.tuple(name, bytes), { maxLength: 3, selector: ([text]) => text }),
    timestampMs,
  })
const recordsAt = (timestampMs: fc.Arbitrary<number>) =>
  fc.array(recordAt(timestampMs), { minLength: 1, maxLength: 8 })

const cases: readonly (readonly [CompressionAlgorithmValue, number])[] = [
  ['none', 0],
  ['gzip', 1],
  ['snappy', 2],
  ['zstd', 4],
]

describe.each(cases)('with compression %s', (compression, id) => {
  it('the witness reads our batches', () => {
    fc.assert(
      fc.property(recordsAt(fc.oneof(nearTimestampMs, fc.nat())), fc.nat(2 ** 40), (list, baseOffset) => {
        const builder = new BatchBuilder({ checksum: portableCrc32c, compression: codecs.get(id) })
        for (const one of list) builder.add(one)
        const batch = builder.build({ producerId: 4_711, epoch: 2, baseSequence: 9 })
        stampBatch(batch, baseOffset, 6)
        const seen = readRecordsBatch(Reader.from(Buffer.from(batch)))
        expect(seen).toMatchObject({
          firstOffset: BigInt(baseOffset),
          length: batch.length - 12,
          partitionLeaderEpoch: 6,
          magic: 2,
          attributes: id,
          lastOffsetDelta: list.length - 1,
          maxTimestamp: BigInt(Math.max(...list.map((one) => one.timestampMs))),
          producerId: 4_711n,
          producerEpoch: 2,
          firstSequence: 9,
        })
        expect(seen.crc).toBe(crc32c(Buffer.from(batch.subarray(crcStart))))
        expect(
          seen.records.map((one) => ({
            payload: new Uint8Array(one.value as Buffer),
            key: one.key === null ? undefined : new Uint8Array(one.key),
            headers: one.headers.map(([text, value]) => [String(text), new Uint8Array(value as Buffer)]),
            timestampMs: Number(seen.firstTimestamp + one.timestampDelta),
          })),
        ).toEqual(list)
        expect(seen.records.map((one) => one.offsetDelta)).toEqual([...list.keys()])
      }),
      { numRuns: 50 },
    )
  })

  it("we read the witness's batches", () => {
    // Of times less than 2^31 ms apart: wider ones it writes wrong, and cannot read back itself (seen in version 2.12.1).
    fc.assert(
      fc.property(recordsAt(nearTimestampMs), (list) => {
        const written = createRecordsBatch(
          list.map((one) => ({
            topic: 't',
            key: one.key && Buffer.from(one.key),
            value: Buffer.from(one.payload),
            headers: new Map(
              one.headers.map(([text, value]) => [Buffer.from(utf8(text)), Buffer.from(value)]),
            ),
            timestamp: BigInt(one.timestampMs),
          })),
          { compression },
        )
        const batch = new Uint8Array(written.buffer)
        expect(verifyBatch(batch, rules)).toBe(list.length)
        expect(crcOf(batch)).toBe(crc32c(Buffer.from(batch.subarray(crcStart))))
        expect(
          [...messagesOf(batch, source)].map(({ payload, key, headers, timestampMs }) => ({
            payload,
            key,
            headers,
            timestampMs,
          })),
        ).toEqual(list)
      }),
      { numRuns: 50 },
    )
  })

  it('both carry 1 MiB', () => {
    const payload = new Uint8Array(1_048_576).map((_, i) => (i * i) >> 5)
    const builder = new BatchBuilder({ checksum: portableCrc32c, compression: codecs.get(id) })
    builder.add({ payload, timestampMs: 1 })
    const [ours] = readRecordsBatch(Reader.from(Buffer.from(builder.build()))).records
    expect(Buffer.compare(ours.value as Buffer, payload)).toBe(0)
    const written = createRecordsBatch([{ topic: 't', value: Buffer.from(payload), timestamp: 1n }], {
      compression,
    })
    const [theirs] = messagesOf(new Uint8Array(written.buffer), source)
    expect(Buffer.compare(theirs.payload, payload)).toBe(0)
    expect(utf8Text(theirs.key ?? utf8('none'))).toBe('none')
  })
})

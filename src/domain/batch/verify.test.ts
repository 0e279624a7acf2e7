import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { nodeCompression } from 'ratatoskr/adapters/node'
import { describe, expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { isRatatoskrError } from '../errors.ts'
import { defaultLimits } from '../limits.ts'
import type { Header } from '../message.ts'
import { BatchBuilder, type RecordFields } from './builder.ts'
import { utf8, writeInt16, writeInt32, writeInt64 } from './bytes.ts'
import { RecordCursor } from './cursor.ts'
import { batchHeaderBytes, crcStart, maxTimestampOf, recordCountOf } from './header.ts'
import { isIdHeader } from './id-header.ts'
import { messagesOf } from './messages.ts'
import { type BatchRules, verifyBatch } from './verify.ts'

const expansion = { codecs: nodeCompression(), bytesMax: 100_000 }
const rules: BatchRules = {
  ...defaultLimits,
  checksum: portableCrc32c,
  batchBytesMax: 10_000,
  messagesPerBatchMax: 10,
  messageBytesMax: 1_000,
  headersPerMessageMax: 3,
  headerNameBytesMax: 20,
  headersBytesMax: 60,
  records: expansion,
}

const id = new Uint8Array(16).fill(9)

function batchOf(...records: readonly Partial<RecordFields>[]): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (const record of records) builder.add({ payload: utf8('payload'), timestampMs: 1_000, ...record })
  return builder.build()
}

/** The batch after `change`, with length and CRC put right, so that only the change can be what is wrong. */
function changed(batch: Uint8Array, change: (batch: Uint8Array) => Uint8Array | undefined): Uint8Array {
  const copy = batch.slice()
  const next = change(copy) ?? copy
  writeInt32(next, 8, next.length - 12)
  return sealed(next)
}

function sealed(batch: Uint8Array): Uint8Array {
  writeInt32(batch, 17, portableCrc32c(batch.subarray(crcStart)))
  return batch
}

/** One record's bytes in a batch that is right but for them. */
const withRecord = (...record: number[]): Uint8Array =>
  changed(batchOf({}), (batch) => {
    const next = new Uint8Array(batchHeaderBytes + record.length)
    next.set(batch.subarray(0, batchHeaderBytes))
    next.set(record, batchHeaderBytes)
    return next
  })

const codeOf = (batch: Uint8Array, more: Partial<BatchRules> = {}): string => {
  try {
    return `${verifyBatch(batch, { ...rules, ...more })} records`
  } catch (error) {
    return isRatatoskrError(error) ? error.code : String(error)
  }
}

const header = (name: string, bytes = 1): Header => [name, new Uint8Array(bytes)]

describe('verifyBatch admits', () => {
  it.each<readonly [string, Uint8Array]>([
    ['one record', batchOf({})],
    ['a record of no value at all', withRecord(12, 0, 0, 0, 1, 1, 0)],
    [
      'a message of exactly the largest size, key and headers counted, the id not',
      batchOf({ payload: new Uint8Array(900), key: new Uint8Array(80), headers: [header('name', 16)], id }),
    ],
    [
      'as many headers as are allowed beside the id',
      batchOf({ id, headers: [header('a'), header('b'), header('c')] }),
    ],
    ['headers of exactly the largest size', batchOf({ headers: [header('a', 59)] })],
    ['a header without a value', withRecord(18, 0, 0, 0, 1, 1, 2, 2, 0x61, 1)],
    ['header names of any script', batchOf({ headers: [header('ключ'), header('__proto__')] })],
    ['timestamps that go back', batchOf({ timestampMs: 9_000 }, { timestampMs: 0 })],
    ['the last moment of a Date', batchOf({ timestampMs: 8.64e15 })],
  ])('%s', (_, batch) => {
    expect(codeOf(batch)).toMatch(/^[12] records$/)
  })

  it('and tells the number of records', () => {
    expect(verifyBatch(batchOf({}, {}, {}), rules)).toBe(3)
  })
})

describe('verifyBatch refuses', () => {
  const two = batchOf({}, {})
  const refusals: readonly (readonly [string, string, Uint8Array, Partial<BatchRules>?])[] = [
    ['nothing', 'RTK_BATCH_MALFORMED', new Uint8Array(0)],
    ['less than a header', 'RTK_BATCH_MALFORMED', two.subarray(0, 60)],
    ['more bytes than allowed', 'RTK_BATCH_TOO_LARGE', two, { batchBytesMax: two.length - 1 }],
    ['more messages than allowed', 'RTK_BATCH_TOO_LARGE', two, { messagesPerBatchMax: 1 }],
    ['another magic', 'RTK_BATCH_MALFORMED', changed(two, (b) => void (b[16] = 1))],
    ['two batches', 'RTK_BATCH_MALFORMED', new Uint8Array(Buffer.concat([two, two]))],
    ['a batch cut off', 'RTK_BATCH_MALFORMED', two.subarray(0, two.length - 1)],
    ['a changed byte', 'RTK_BATCH_CRC_MISMATCH', Uint8Array.from(two, (b, i) => (i === 70 ? b ^ 1 : b))],
    ['a control batch', 'RTK_BATCH_MALFORMED', changed(two, (b) => void (b[22] |= 0x20))],
    [
      'no records',
      'RTK_BATCH_MALFORMED',
      changed(two, (b) => {
        writeInt32(b, 57, 0)
        writeInt32(b, 23, -1)
      }),
    ],
    [
      'a last delta that is not the count',
      'RTK_BATCH_MALFORMED',
      changed(two, (b) => writeInt32(b, 23, 5) as undefined),
    ],
    [
      'a count above the records',
      'RTK_BATCH_MALFORMED',
      changed(two, (b) => {
        writeInt32(b, 57, 3)
        writeInt32(b, 23, 2)
      }),
    ],
    [
      'a count below the records',
      'RTK_BATCH_MALFORMED',
      changed(two, (b) => {
        writeInt32(b, 57, 1)
        writeInt32(b, 23, 0)
      }),
    ],
    [
      'a negative base timestamp',
      'RTK_BATCH_MALFORMED',
      changed(two, (b) => writeInt64(b, 27, -1) as undefined),
    ],
    ['a timestamp that is no Date', 'RTK_BATCH_MALFORMED', batchOf({ timestampMs: 8.64e15 + 1 })],
    [
      'a record later than the maximum',
      'RTK_BATCH_MALFORMED',
      changed(batchOf({}, { timestampMs: 2_000 }), (b) => writeInt64(b, 35, 1_999) as undefined),
    ],
    ['a record before 1970', 'RTK_BATCH_MALFORMED', withRecord(14, 0, 0xff, 0x0f + 8, 0, 1, 1, 0)],
    ['offset deltas that do not count up', 'RTK_BATCH_MALFORMED', withRecord(12, 0, 0, 2, 1, 1, 0)],
    ['a record longer than the batch', 'RTK_BATCH_MALFORMED', withRecord(80, 0, 0, 0, 1, 1, 0)],
    ['a record too short for its fields', 'RTK_BATCH_MALFORMED', withRecord(10, 0, 0, 0, 1, 1, 0)],
    ['a record of negative length', 'RTK_BATCH_MALFORMED', withRecord(1, 0, 0, 0, 1, 1, 0)],
    ['a key longer than the record', 'RTK_BATCH_MALFORMED', withRecord(12, 0, 0, 0, 40, 1, 0)],
    ['a value longer than the record', 'RTK_BATCH_MALFORMED', withRecord(12, 0, 0, 0, 1, 40, 0)],
    ['bytes left within a record', 'RTK_BATCH_MALFORMED', withRecord(14, 0, 0, 0, 1, 1, 0, 0)],
    [
      'bytes left after an id within a record',
      'RTK_BATCH_MALFORMED',
      withRecord(62, 0, 0, 0, 1, 0, 2, 12, ...utf8('rtk-id'), 32, ...id, 0),
    ],
    ['a number of headers below 0', 'RTK_BATCH_MALFORMED', withRecord(12, 0, 0, 0, 1, 1, 1)],
    ['headers that are not there', 'RTK_BATCH_MALFORMED', withRecord(12, 0, 0, 0, 1, 1, 2)],
    ['a header without a name', 'RTK_BATCH_MALFORMED', withRecord(16, 0, 0, 0, 1, 1, 2, 1, 1)],
    ['a header longer than the record', 'RTK_BATCH_MALFORMED', withRecord(16, 0, 0, 0, 1, 1, 2, 40, 0)],
    [
      'a varint of six bytes',
      'RTK_BATCH_MALFORMED',
      withRecord(0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0),
    ],
    [
      'a timestamp delta of eleven bytes',
      'RTK_BATCH_MALFORMED',
      withRecord(32, 0, ...new Array(10).fill(0x80), 0, 0, 1, 1, 0),
    ],
    ['a message that is too large', 'RTK_MESSAGE_TOO_LARGE', batchOf({}, { payload: new Uint8Array(1_001) })],
    [
      'a message that is too large with its key',
      'RTK_MESSAGE_TOO_LARGE',
      batchOf({ payload: new Uint8Array(999), key: id }),
    ],
    [
      'a message that is too large with its headers',
      'RTK_MESSAGE_TOO_LARGE',
      batchOf({ payload: new Uint8Array(990), headers: [header('name', 7)] }),
    ],
    [
      'too many headers',
      'RTK_HEADER_INVALID',
      batchOf({ headers: ['a', 'b', 'c', 'd'].map((name) => header(name)) }),
    ],
    ['headers that are too large', 'RTK_HEADER_INVALID', batchOf({ headers: [header('a', 60)] })],
    ['a header name that is too long', 'RTK_HEADER_INVALID', batchOf({ headers: [header('n'.repeat(21))] })],
    ['an empty header name', 'RTK_HEADER_INVALID', batchOf({ headers: [header('')] })],
    ['a header name with a line feed', 'RTK_HEADER_INVALID', batchOf({ headers: [header('a\nb')] })],
    ['a header name with a C1 control', 'RTK_HEADER_INVALID', batchOf({ headers: [header('a\u0085')] })],
    ['a header name that is not UTF-8', 'RTK_HEADER_INVALID', withRecord(18, 0, 0, 0, 1, 1, 2, 2, 0xff, 0)],
    ['a reserved header', 'RTK_HEADER_INVALID', batchOf({ headers: [header('rtk-deliver-at', 16)] })],
    ['an id that is not 16 bytes', 'RTK_HEADER_INVALID', batchOf({ headers: [header('rtk-id', 15)] })],
    ['two ids', 'RTK_HEADER_INVALID', batchOf({ id, headers: [header('rtk-id', 16)] })],
    [
      'an unknown codec',
      'RTK_COMPRESSION_UNAVAILABLE',
      changed(two, (b) => writeInt16(b, 21, 3) as undefined),
    ],
    [
      'a codec that does not exist',
      'RTK_COMPRESSION_UNAVAILABLE',
      changed(two, (b) => writeInt16(b, 21, 7) as undefined),
    ],
    [
      'records that are not compressed as they say',
      'RTK_BATCH_MALFORMED',
      changed(two, (b) => writeInt16(b, 21, 1) as undefined),
    ],
  ]
  for (const [what, code, batch, more] of refusals) {
    it(what, () => expect(codeOf(batch, more)).toBe(code))
  }

  it('a batch that expands beyond the bound', () => {
    const gzip = { id: 1, compress: (bytes: Uint8Array) => gzipSync(bytes) }
    const builder = new BatchBuilder({ checksum: portableCrc32c, compression: gzip })
    builder.add({ payload: new Uint8Array(200_000), timestampMs: 1 })
    expect(codeOf(builder.build())).toBe('RTK_BATCH_TOO_LARGE')
  })
})

describe('without the walk', () => {
  it('header and CRC are checked, and records are not', () => {
    const broken = withRecord(80, 0, 0, 0, 1, 1, 0)
    expect(codeOf(broken, { records: undefined })).toBe('1 records')
    broken[broken.length - 1] ^= 1
    expect(codeOf(broken, { records: undefined })).toBe('RTK_BATCH_CRC_MISMATCH')
  })
})

describe('whatever the bytes are', () => {
  const samples = [
    batchOf(
      {},
      { key: utf8('k') },
      { id, headers: [header('a', 5), header('b', 0)], timestampMs: 5_000_000_000 },
    ),
    batchOf({ payload: new Uint8Array(300) }, { timestampMs: 3 }),
  ]
  const source = { topic: 't', topicId: '3f0c8a52-9d0e-4a57-8f2e-6c1b7d9e0a11', partition: 0, expansion }

  /** Verifies and reads; anything but a coded error fails the test. */
  function tryAll(batch: Uint8Array): void {
    let admitted = false
    try {
      verifyBatch(batch, rules)
      admitted = true
    } catch (error) {
      expect(isRatatoskrError(error), String(error)).toBe(true)
    }
    try {
      for (const message of messagesOf(batch, source)) {
        expect(message.payload.length + (message.key?.length ?? 0)).toBeLessThanOrEqual(expansion.bytesMax)
        expect(message.headers.length).toBeLessThanOrEqual(batch.length)
      }
    } catch (error) {
      expect(isRatatoskrError(error), String(error)).toBe(true)
      expect(admitted, 'a batch was admitted that cannot be read').toBe(false)
    }
  }

  it('there is a coded error or a batch that can be read: changed bytes', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(fc.constantFrom(...samples), changes, (sample, places) => {
        const batch = sample.slice()
        for (const [place, byte] of places) batch[place % batch.length] = byte
        tryAll(batch)
        tryAll(sealed(batch))
      }),
      { numRuns: 2_000 },
    )
  })

  it('there is a coded error or a batch that can be read: bytes cut off, put in, taken out', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.nat(),
        fc.nat(40),
        fc.uint8Array({ maxLength: 12 }),
        (sample, place, out, put) => {
          const at = batchHeaderBytes + (place % (sample.length - batchHeaderBytes))
          tryAll(sample.subarray(0, place % sample.length))
          tryAll(
            changed(
              sample,
              (b) => new Uint8Array(Buffer.concat([b.subarray(0, at), put, b.subarray(at + out)])),
            ),
          )
        },
      ),
      { numRuns: 1_000 },
    )
  })

  it('nothing beyond the batch is read: the same bytes in a larger buffer give the same answer', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.nat(),
        fc.nat(255),
        fc.nat(255),
        (sample, place, byte, around) => {
          const batch = changed(
            sample,
            (b) => void (b[batchHeaderBytes + (place % (b.length - batchHeaderBytes))] = byte),
          )
          const larger = new Uint8Array(batch.length + 40).fill(around)
          larger.set(batch, 20)
          expect(codeOf(larger.subarray(20, 20 + batch.length))).toBe(codeOf(batch))
        },
      ),
    )
  })
})

/** What a walk with a cursor alone says of records without headers but an id; undefined when there are others. */
function isRight(batch: Uint8Array, messageBytesMax: number): boolean | undefined {
  const cursor = new RecordCursor().open(batch)
  try {
    for (let delta = 0; delta < recordCountOf(batch); delta++) {
      cursor.next()
      const { keyStart, keyEnd, valueStart, valueEnd, timestampMs } = cursor
      const sizeBytes =
        (keyStart === -1 ? 0 : keyEnd - keyStart) + (valueStart === -1 ? 0 : valueEnd - valueStart)
      const inTime = timestampMs >= 0 && timestampMs <= maxTimestampOf(batch)
      if (cursor.offsetDelta !== delta || !inTime || sizeBytes > messageBytesMax) return false
      if (cursor.headerCount > 0) {
        if (cursor.headerCount > 1 || !cursor.nextHeader() || !isIdHeader(cursor)) return undefined
        cursor.nextHeader() // throws when the record goes on
        continue
      }
      if (cursor.headersStart !== cursor.end) return false
    }
    return cursor.end === cursor.limit
  } catch {
    return false
  }
}

it('finds in plain records, whole or damaged, what a walk over all their fields finds', () => {
  const bounds = {
    batchBytesMax: 1 << 20,
    messagesPerBatchMax: 20_000,
    messageBytesMax: 20_000,
    records: expansion,
  }
  const fields = fc.record({
    payload: fc.oneof(
      fc.uint8Array({ maxLength: 10 }),
      fc.constantFrom(8_180, 8_192, 9_000).map((n) => new Uint8Array(n)),
    ),
    key: fc.option(fc.uint8Array({ maxLength: 100 }), { nil: undefined }),
    timestampMs: fc.integer({ min: 1_000, max: 20_000 }),
    id: fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 }), { nil: undefined }),
  })
  const damage = fc.array(fc.record({ at: fc.nat(60), bits: fc.integer({ min: 1, max: 255 }) }), {
    maxLength: 2,
  })
  let damaged = 0
  fc.assert(
    fc.property(fc.array(fields, { minLength: 1, maxLength: 8 }), damage, (records, flips) => {
      const batch = batchOf(...records)
      for (const { at, bits } of flips) {
        batch[batchHeaderBytes + (at % (batch.length - batchHeaderBytes))] ^= bits
      }
      const right = isRight(batch, bounds.messageBytesMax)
      fc.pre(right !== undefined)
      if (!right) damaged++
      expect(codeOf(sealed(batch), bounds).endsWith('records')).toBe(right)
    }),
    { numRuns: 1_000 },
  )
  expect(damaged).toBeGreaterThan(50)
})

it('takes as many records as need three bytes for their places', () => {
  const records = Array.from({ length: 9_000 }, () => ({ payload: new Uint8Array(1) }))
  const bounds = { batchBytesMax: 1 << 20, messagesPerBatchMax: 20_000 }
  expect(codeOf(batchOf(...records), bounds)).toBe('9000 records')
})

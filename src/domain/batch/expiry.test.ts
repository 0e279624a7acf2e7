/** Messages that expire: the header as bytes, its place, and who passes over them. */
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { isRatatoskrError } from '../errors.ts'
import { defaultLimits } from '../limits.ts'
import { expiryHeaderName, expiryOf, type Header, timestampMsMax } from '../message.ts'
import { BatchBuilder, type RecordFields } from './builder.ts'
import { utf8, utf8Text, writeInt32, writeInt64 } from './bytes.ts'
import { RecordCursor } from './cursor.ts'
import { expiryHeaderSize } from './expiry-header.ts'
import { crcStart } from './header.ts'
import { hasExpired, messagesOf } from './messages.ts'
import { type BatchRules, verifyBatch } from './verify.ts'

const expansion = { codecs: new Map(), bytesMax: 100_000 }
const source = { topic: 'orders', topicId: '3f0c8a52-9d0e-4a57-8f2e-6c1b7d9e0a11', partition: 0, expansion }
const rules: BatchRules = {
  ...defaultLimits,
  checksum: portableCrc32c,
  headersPerMessageMax: 3,
  records: expansion,
}
const id = new Uint8Array(16).fill(9)

function batchOf(records: readonly Partial<RecordFields>[], gzip = false): Uint8Array {
  const builder = new BatchBuilder({
    checksum: portableCrc32c,
    ...(gzip && { compression: { id: 1, compress: (bytes) => new Uint8Array(gzipSync(bytes)) } }),
  })
  for (const record of records) builder.add({ payload: utf8('x'), timestampMs: 1_000, ...record })
  return builder.build()
}

const timeOf = (expiresAtMs: number, bytes = 8): Uint8Array => {
  const value = new Uint8Array(bytes)
  if (bytes === 8) writeInt64(value, 0, expiresAtMs)
  return value
}
/** The header as a client that encodes batches by itself writes it: like any other. */
const raw = (expiresAtMs: number, bytes?: number): Header => [expiryHeaderName, timeOf(expiresAtMs, bytes)]
const plain = (name: string): Header => [name, utf8('v')]

const codeOf = (batch: Uint8Array): string => {
  try {
    return `${verifyBatch(batch, rules)} records`
  } catch (error) {
    return isRatatoskrError(error) ? error.code : String(error)
  }
}

describe('the header of the expiry', () => {
  it('comes back as it was given, beside ids and headers, and is none of the headers of the message', () => {
    const time = fc.option(fc.integer({ min: 0, max: timestampMsMax }), { nil: undefined })
    const headers = fc.option(fc.array(fc.constantFrom(plain('a'), plain('rtk'), plain('expires'))), {
      nil: undefined,
    })
    const record = fc.record({ expiresAtMs: time, headers, id: fc.constantFrom(undefined, id) })
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 5 }), fc.boolean(), (records, gzip) => {
        const batch = batchOf(records, gzip)
        const codecs = new Map([
          [1, { decompress: (bytes: Uint8Array) => new Uint8Array(gunzipSync(bytes)) }],
        ])
        const got = [...messagesOf(batch, { ...source, expansion: { ...expansion, codecs } })]
        expect(got.map(({ expiresAtMs }) => expiresAtMs)).toEqual(records.map((one) => one.expiresAtMs))
        expect(got.map((one) => one.headers.map(([name]) => name))).toEqual(
          records.map((one) => (one.headers ?? []).map(([name]) => name)),
        )
        expect(got.map((one) => one.id[14])).toEqual(records.map((one) => (one.id === undefined ? '8' : '0')))
      }),
    )
  })

  it('takes 24 bytes: the name, the time as int64, and their lengths', () => {
    const bare = batchOf([{ headers: [] }])
    const batch = batchOf([{ expiresAtMs: 2 ** 40 + 5 }])
    expect(batch.length - bare.length).toBe(expiryHeaderSize)
    expect(Buffer.from(batch.subarray(-24)).toString('hex')).toBe(
      `1c${Buffer.from('rtk-expires-at').toString('hex')}10${'0000010000000005'}`,
    )
  })

  it('is the same whether the builder writes it or a client does', () => {
    expect(batchOf([{ headers: [raw(77), plain('a')] }])).toEqual(
      batchOf([{ expiresAtMs: 77, headers: [plain('a')] }]),
    )
  })

  it.each<readonly [string, readonly Header[]]>([
    ['first', [raw(77), plain('a')]],
    ['right after the id', [['rtk-id', id], raw(77)]],
    ['before the id', [raw(77), ['rtk-id', id]]],
    ['at the last moment of a Date', [raw(timestampMsMax)]],
    ['beside as many headers as are allowed', [raw(77), plain('a'), plain('b'), plain('c')]],
  ])('is admitted %s', (_, headers) => {
    expect(codeOf(batchOf([{ headers }]))).toBe('1 records')
  })

  it.each<readonly [string, readonly Header[]]>([
    ['after another header', [plain('a'), raw(77)]],
    ['second without an id', [plain('a'), raw(77), plain('b')]],
    ['third, behind id and header', [['rtk-id', id], plain('a'), raw(77)]],
    ['twice', [raw(77), raw(78)]],
    ['with a time of 7 bytes', [raw(77, 7)]],
    ['without a time', [raw(77, 0)]],
    ['with a negative time', [raw(-1)]],
    ['with a time that is no Date', [raw(timestampMsMax + 1)]],
    ['under a name that only begins so', [['rtk-expires-at2', timeOf(77)]]],
    ['under a name of the same length', [['rtk-expires-aT', timeOf(77)]]],
  ])('is refused %s', (_, headers) => {
    expect(codeOf(batchOf([{ headers }]))).toBe('RTK_HEADER_INVALID')
  })

  it('that a broker did not check and that is out of place says nothing, and stands with the others', () => {
    const [message] = messagesOf(batchOf([{ headers: [plain('a'), raw(77)] }]), source)
    expect(message.expiresAtMs).toBeUndefined()
    expect(message.headers.map(([name]) => name)).toEqual(['a', expiryHeaderName])
  })

  it.each<readonly [string, Partial<RecordFields>, boolean]>([
    ['no headers', {}, false],
    ['an id alone', { id }, false],
    ['one header of its own', { headers: [plain('a')] }, false],
    ['an expiry', { expiresAtMs: 5 }, true],
    ['id and expiry', { id, expiresAtMs: 5 }, true],
    ['expiry and headers', { expiresAtMs: 5, headers: [plain('a')] }, true],
    ['several headers, which are looked at more closely', { id, headers: [plain('a')] }, true],
  ])('mayExpire of a record with %s', (_, record, mayExpire) => {
    const cursor = new RecordCursor().open(batchOf([record]))
    cursor.next()
    expect(cursor.mayExpire).toBe(mayExpire)
    expect(cursor.expiresAtMs).toBe(record.expiresAtMs)
  })

  it('never reads past its record, whatever the bytes', () => {
    const batch = batchOf([{ headers: [[expiryHeaderName, new Uint8Array(8)]] }, { payload: timeOf(5) }])
    fc.assert(
      fc.property(
        fc.integer({ min: 61, max: batch.length - 1 }),
        fc.integer({ min: 0, max: 255 }),
        (at, value) => {
          const changed = batch.slice()
          changed[at] = value
          const cursor = new RecordCursor().open(changed)
          try {
            while (cursor.next()) {
              const { expiresAtMs } = cursor
              if (expiresAtMs !== undefined)
                expect(cursor.end - cursor.headersStart).toBeGreaterThanOrEqual(24)
            }
          } catch (error) {
            expect(isRatatoskrError(error, 'RTK_BATCH_MALFORMED')).toBe(true)
          }
        },
      ),
    )
  })

  it('is covered by the checksum', () => {
    const batch = batchOf([{ expiresAtMs: 77 }])
    batch[batch.length - 1] ^= 1
    expect(codeOf(batch)).toBe('RTK_BATCH_CRC_MISMATCH')
    writeInt32(batch, 17, portableCrc32c(batch.subarray(crcStart)))
    expect(codeOf(batch)).toBe('1 records')
  })
})

describe('passing over expired messages', () => {
  const batch = batchOf(
    [undefined, 100, 200, undefined, 100].map((expiresAtMs, i) => ({ expiresAtMs, payload: utf8(`m${i}`) })),
  )
  const textsAt = (nowMs: number, expired?: (offset: number) => void): string[] =>
    [...messagesOf(batch, { ...source, expiry: { now: () => nowMs, ...(expired && { expired }) } })].map(
      ({ payload }) => utf8Text(payload),
    )

  it.each([
    [99, ['m0', 'm1', 'm2', 'm3', 'm4']],
    [100, ['m0', 'm2', 'm3']],
    [199, ['m0', 'm2', 'm3']],
    [200, ['m0', 'm3']],
  ])('at %i ms', (nowMs, texts) => {
    expect(textsAt(nowMs)).toEqual(texts)
  })

  it('tells which', () => {
    const offsets: number[] = []
    textsAt(150, (offset) => offsets.push(offset))
    expect(offsets).toEqual([1, 4])
  })

  it('asks the clock when a message is asked for, and never for one that does not expire', () => {
    let nowMs = 0
    let asked = 0
    const now = (): number => {
      asked++
      return nowMs
    }
    const messages = messagesOf(batch, { ...source, expiry: { now } })
    expect(messages.next().value?.offset).toBe(0)
    expect(asked).toBe(0)
    nowMs = 150
    expect(messages.next().value?.offset).toBe(2)
    expect(asked).toBe(2)
  })

  it('does not happen without a clock', () => {
    expect([...messagesOf(batch, source)]).toHaveLength(5)
  })

  it('hasExpired: from the moment on', () => {
    expect([99, 100, 101].map((now) => hasExpired({ expiresAtMs: 100 }, { now: () => now }))).toEqual([
      false,
      true,
      true,
    ])
    expect(hasExpired({ expiresAtMs: undefined }, { now: () => timestampMsMax })).toBe(false)
  })
})

describe('expiryOf', () => {
  it('counts a time to live from now, and takes an expiry as it is', () => {
    expect(expiryOf({ ttlMs: 500 }, 1_000)).toBe(1_500)
    expect(expiryOf({ expiresAtMs: 500 }, 1_000)).toBe(500)
    expect(expiryOf({}, 1_000)).toBeUndefined()
    expect(expiryOf({ ttlMs: timestampMsMax }, 1_000)).toBe(timestampMsMax)
  })
})

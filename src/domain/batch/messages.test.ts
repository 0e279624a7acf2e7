import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { addressOfDerivedId } from '../message-id.ts'
import { BatchBuilder } from './builder.ts'
import { utf8, utf8Text } from './bytes.ts'
import { stampBatch } from './header.ts'
import { messagesOf } from './messages.ts'

const topicId = '3f0c8a52-9d0e-4a57-8f2e-6c1b7d9e0a11'
const source = { topic: 'orders', topicId, partition: 5, expansion: { codecs: new Map(), bytesMax: 1_000 } }

function batchOf(baseOffset: number, texts: readonly string[]): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs: 1 })
  const batch = builder.build()
  stampBatch(batch, baseOffset, 0)
  return batch
}

const concat = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))
const textsOf = (bytes: Uint8Array, from?: number): string[] =>
  [...messagesOf(bytes, source, from)].map((message) => utf8Text(message.payload))

describe('messagesOf', () => {
  const bytes = concat(batchOf(10, ['a', 'b', 'c']), batchOf(13, ['d']), batchOf(14, ['e', 'f']))

  it.each([
    [0, 'abcdef'],
    [10, 'abcdef'],
    [12, 'cdef'],
    [13, 'def'],
    [15, 'f'],
    [16, ''],
  ])('begins at offset %i', (from, texts) => {
    expect(textsOf(bytes, from).join('')).toBe(texts)
  })

  it('passes over control batches', () => {
    const control = batchOf(10, ['mark'])
    control[22] |= 0x20
    expect(textsOf(concat(control, batchOf(11, ['a'])))).toEqual(['a'])
  })

  it('decodes one message at a time: what is broken further on does not matter before it is reached', () => {
    const broken = batchOf(13, ['d'])
    broken[61] = 0x7f // the length of its record
    const messages = messagesOf(concat(batchOf(10, ['a', 'b']), broken), source)
    expect([messages.next(), messages.next()].map((one) => one.done)).toEqual([false, false])
    expect(() => messages.next()).toThrow(expect.objectContaining({ code: 'RTK_BATCH_MALFORMED' }))
  })

  it('decodes headers only when they are asked for', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    builder.add({ payload: utf8('p'), headers: [['name', utf8('value')]], timestampMs: 1 })
    const batch = builder.build()
    batch[batch.length - 11] = 0x7f // the length of the header's name
    const [message] = messagesOf(batch, source)
    expect(utf8Text(message.payload)).toBe('p')
    expect(() => message.headers).toThrow(expect.objectContaining({ code: 'RTK_BATCH_MALFORMED' }))
  })

  it('refuses a record whose fields run into the next one', () => {
    const batch = batchOf(0, ['', ''])
    expect([...batch.subarray(61, 68)]).toEqual([12, 0, 0, 0, 1, 0, 0])
    batch.set([0x80, 0, 0], 63) // a timestamp delta of two bytes: everything after it moves by one
    expect(() => textsOf(batch)).toThrow(expect.objectContaining({ code: 'RTK_BATCH_MALFORMED' }))
  })

  it('refuses bytes that are no whole batches', () => {
    expect(() => textsOf(bytes.subarray(0, bytes.length - 1))).toThrow(
      expect.objectContaining({ code: 'RTK_BATCH_MALFORMED' }),
    )
  })

  it('needs the codec of a compressed batch', () => {
    const gzip = { id: 1, compress: (records: Uint8Array) => gzipSync(records) }
    const builder = new BatchBuilder({ checksum: portableCrc32c, compression: gzip })
    builder.add({ payload: utf8('p'), timestampMs: 1 })
    expect(() => textsOf(builder.build())).toThrow(
      expect.objectContaining({ code: 'RTK_COMPRESSION_UNAVAILABLE' }),
    )
  })
})

describe('a message', () => {
  const id = new Uint8Array(16).map((_, i) => i)

  it('has the id of its record, which is no header to its readers', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    builder.add({ payload: utf8('p'), id, headers: [['a', utf8('1')]], timestampMs: 1 })
    const [message] = messagesOf(builder.build(), source)
    expect(message.id).toBe('00010203-0405-0607-0809-0a0b0c0d0e0f')
    expect(message.headers).toEqual([['a', utf8('1')]])
  })

  it('has an id that says where it is when its record has none', () => {
    const [, message] = messagesOf(batchOf(2 ** 40, ['a', 'b']), source)
    expect(addressOfDerivedId(message.id)).toEqual({
      topicIdPrefix: '3f0c8a529d0e',
      partition: 5,
      offset: 2 ** 40 + 1,
    })
    expect(message.headers).toEqual([])
  })

  it('keeps headers that repeat, in their order, and only a header of 16 bytes is an id', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    const headers = [
      ['x', utf8('1')],
      ['rtk-id', utf8('short')],
      ['x', utf8('2')],
    ] as const
    builder.add({ payload: utf8('p'), headers, timestampMs: 1 })
    const [message] = messagesOf(builder.build(), source)
    expect(message.headers).toEqual(headers)
    expect(message.id[14]).toBe('8')
  })

  it('has no id in a header without a value, wherever that stands', () => {
    // In expanded records the header ends at byte 15, as far from "no value", -1, as an id is long.
    const records = Uint8Array.of(28, 0, 0, 0, 1, 1, 2, 12, ...utf8('rtk-id'), 1)
    const batch = batchOf(0, ['p'])
    batch[22] = 1
    const codecs = new Map([[1, { decompress: () => records }]])
    const [message] = messagesOf(batch, { ...source, expansion: { codecs, bytesMax: 100 } })
    expect(message.headers).toEqual([['rtk-id', new Uint8Array(0)]])
    expect(message.id[14]).toBe('8')
  })

  it('gives plain bytes whatever class the batch has, as views that copy nothing', () => {
    const batch = Buffer.from(batchOf(0, ['payload']))
    const [message] = messagesOf(batch, source)
    expect(Object.getPrototypeOf(message.payload)).toBe(Uint8Array.prototype)
    expect(message.payload.buffer).toBe(batch.buffer)
  })

  it('has an empty payload where the record has no value', () => {
    const batch = batchOf(0, [''])
    expect(batch[batch.length - 2]).toBe(0)
    batch[batch.length - 2] = 1
    const [message] = messagesOf(batch, source)
    expect([message.payload.length, message.key]).toEqual([0, undefined])
  })
})

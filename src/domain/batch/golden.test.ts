/**
 * Batches of fixed bytes: what is stored in segments today must be read by every later version, and what is written must
 * not drift unseen. A change here is a change of the format. Each line begins with the 61-byte header.
 */
import { nodeCompression } from 'ratatoskr/adapters/node'
import { describe, expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { defaultLimits } from '../limits.ts'
import { BatchBuilder } from './builder.ts'
import { utf8, utf8Text } from './bytes.ts'
import {
  baseOffsetOf,
  baseSequenceOf,
  leaderEpochOf,
  producerEpochOf,
  producerIdOf,
  stampBatch,
} from './header.ts'
import { messagesOf } from './messages.ts'
import { verifyBatch } from './verify.ts'

const golden = {
  one:
    '00000000000000000000003dffffffff02e53a8451000000000000000001941f297c00000001941f297c00ffffffffffffffffffffffffffff00000001' +
    '16000000010a68656c6c6f00',
  full:
    '0000000218711a00000000d900000005029978c78e000000000002000001941f297c000000019443360000000000000000126700020000006400000003' +
    '960100000014637573746f6d65722d37167b22746f74616c223a317d060c72746b2d6964200011223344556677' +
    '8899aabbccddeeff0a74726163650c346266393266125f5f70726f746f5f5f000e00cf0f02010000a201008090' +
    'e4c00404018c016161616161616161616161616161616161616161616161616161616161616161616161616161' +
    '616161616161616161616161616161616161616161616161616161616161616100',
  gzip:
    '00000000000000000000005affffffff02bb4e0bbe000100000001000001941f297c00000001941f297c00ffffffffffffffffffffffffffff00000002' +
    '1f8b0800000000000003d36360606054ca48cdc9c957402219f4181898b08903008d4dde4130000000',
  snappy:
    '00000000000000000000005effffffff02164b0472000200000001000001941f297c00000001941f297c00ffffffffffffffffffffffffffff00000002' +
    '82534e4150505900000000010000000100000019302c2e000000012268656c6c6f201d0610002e0000024e1800',
  zstd:
    '000000000000000000000053ffffffff02c31a61cb000400000001000001941f297c00000001941f297c00ffffffffffffffffffffffffffff00000002' +
    '28b52ffd2030cd0000882e000000012268656c6c6f20002e00000202003ba94e5c92',
}

const timestampMs = 1_735_689_600_000
const weekMs = 604_800_000
const expansion = { codecs: nodeCompression(), bytesMax: 1_000 }
const rules = { ...defaultLimits, checksum: portableCrc32c, records: expansion }
const source = { topic: 't', topicId: '3f0c8a52-9d0e-4a57-8f2e-6c1b7d9e0a11', partition: 0, expansion }

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytesOf = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))

describe('golden batches', () => {
  it('one record without anything', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    builder.add({ payload: utf8('hello'), timestampMs })
    expect(hexOf(builder.build())).toBe(golden.one)
  })

  it('key, id, headers, times before and long after the first, producer, offset and epoch: written', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    const id = Uint8Array.from({ length: 16 }, (_, i) => i * 0x11)
    const headers = [
      ['trace', utf8('4bf92f')],
      ['__proto__', new Uint8Array(0)],
    ] as const
    builder.add({ payload: utf8('{"total":1}'), key: utf8('customer-7'), id, headers, timestampMs })
    builder.add({ payload: new Uint8Array(0), timestampMs: timestampMs - 1_000 })
    builder.add({ payload: new Uint8Array(70).fill(0x61), timestampMs: timestampMs + weekMs })
    const batch = builder.build({ producerId: 4_711, epoch: 2, baseSequence: 100 })
    stampBatch(batch, 9_000_000_000, 5)
    expect(hexOf(batch)).toBe(golden.full)
  })

  it('key, id, headers, times before and long after the first, producer, offset and epoch: read', () => {
    const batch = bytesOf(golden.full)
    expect(verifyBatch(batch, rules)).toBe(3)
    expect([baseOffsetOf(batch), leaderEpochOf(batch)]).toEqual([9_000_000_000, 5])
    expect([producerIdOf(batch), producerEpochOf(batch), baseSequenceOf(batch)]).toEqual([4_711, 2, 100])
    const [first, second, third] = messagesOf(batch, source)
    expect(first).toMatchObject({
      id: '00112233-4455-6677-8899-aabbccddeeff',
      offset: 9_000_000_000,
      timestampMs,
      key: utf8('customer-7'),
      payload: utf8('{"total":1}'),
    })
    expect(first.headers.map(([name, value]) => [name, utf8Text(value)])).toEqual([
      ['trace', '4bf92f'],
      ['__proto__', ''],
    ])
    expect([second.offset, second.timestampMs, second.payload.length]).toEqual([
      9_000_000_001,
      timestampMs - 1_000,
      0,
    ])
    expect([third.timestampMs, utf8Text(third.payload)]).toEqual([timestampMs + weekMs, 'a'.repeat(70)])
  })

  // Compressors may write other bytes in a later version; what they wrote must stay readable.
  it.each(['gzip', 'snappy', 'zstd'] as const)('%s: read', (codec) => {
    const batch = bytesOf(golden[codec])
    expect(verifyBatch(batch, rules)).toBe(2)
    expect([...messagesOf(batch, source)].map((message) => utf8Text(message.payload))).toEqual([
      'hello hello hello',
      'hello hello hello',
    ])
  })
})

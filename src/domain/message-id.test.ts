import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  addressOfDerivedId,
  derivedMessageId,
  formatUuid,
  isUuid,
  parseUuid,
  topicIdPrefix,
} from './message-id.ts'

const partition = fc.nat(65_535)
const offset = fc.oneof(fc.nat(), fc.maxSafeInteger().map(Math.abs), fc.constant(Number.MAX_SAFE_INTEGER))

describe('the text of a UUID', () => {
  it('comes back as the bytes it was made of', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat(4), (bytes, before) => {
        const text = formatUuid(Uint8Array.from([...new Uint8Array(before), ...bytes]), before)
        expect(isUuid(text)).toBe(true)
        expect(parseUuid(text)).toEqual(bytes)
        expect(parseUuid(text.toUpperCase())).toEqual(bytes)
      }),
    )
  })

  it.each<unknown>([
    '',
    'not a uuid',
    '00112233445566778899aabbccddeeff',
    '00112233-4455-6677-8899-aabbccddeef',
    '00112233-4455-6677-8899-aabbccddeeff\n',
    '{00112233-4455-6677-8899-aabbccddeeff}',
    '00112233-4455-6677-8899-aabbccddeefg',
    undefined,
    null,
    42,
  ])('is refused when it is %j', (text) => {
    expect(isUuid(text)).toBe(false)
    expect(() => parseUuid(text)).toThrow(expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT' }))
  })
})

describe('a derived id', () => {
  it('is a UUID of version 8 that leads back to where the message is', () => {
    fc.assert(
      fc.property(fc.uuid(), partition, offset, (topicId, at, where) => {
        const id = derivedMessageId(topicId, at, where)
        expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
        expect(addressOfDerivedId(id)).toEqual({
          topicIdPrefix: topicIdPrefix(topicId),
          partition: at,
          offset: where,
        })
        expect(addressOfDerivedId(id.toUpperCase())).toEqual(addressOfDerivedId(id))
      }),
    )
  })

  it('differs for different places', () => {
    const place = fc.tuple(partition, offset)
    const topicId = '3f0c8a52-9d0e-4a57-8f2e-6c1b7d9e0a11'
    fc.assert(
      fc.property(place, place, (one, other) => {
        fc.pre(one[0] !== other[0] || one[1] !== other[1])
        expect(derivedMessageId(topicId, ...one)).not.toBe(derivedMessageId(topicId, ...other))
      }),
    )
  })

  it('never drifts', () => {
    expect(derivedMessageId('3F0C8A52-9d0e-4a57-8f2e-6c1b7d9e0a11', 4_660, 123_456_789_012)).toBe(
      '3f0c8a52-9d0e-8234-8400-001cbe991a14',
    )
  })

  it('is no id of another kind', () => {
    for (const id of [crypto.randomUUID(), 'x', '', '3f0c8a52-9d0e-8234-c400-001cbe991a14']) {
      expect(addressOfDerivedId(id)).toBeUndefined()
    }
  })
})

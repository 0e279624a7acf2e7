import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from './batch/bytes.ts'
import { isRatatoskrError } from './errors.ts'
import { validateHeaderNameBytes, validateHeaders, validateOutgoingMessage } from './headers.ts'
import type { OutgoingMessage } from './message.ts'
import { anyCharacter } from './testing/any-character.ts'

const limits = { headersPerMessageMax: 3, headerNameBytesMax: 10, headersBytesMax: 40 }
const bytes = (length: number): Uint8Array => new Uint8Array(length)

const codeOf = (run: () => unknown): unknown => {
  try {
    return run()
  } catch (error) {
    return isRatatoskrError(error) ? error.code : error
  }
}
const check = (message: unknown): unknown =>
  codeOf(() => validateOutgoingMessage(message as OutgoingMessage, limits, 100))
const headersOf = (headers: unknown): unknown => check({ payload: bytes(0), headers })

describe('validateOutgoingMessage', () => {
  it.each<readonly [string, unknown, number]>([
    ['nothing but an empty payload', { payload: bytes(0) }, 0],
    ['exactly the largest size', { payload: bytes(80), key: bytes(10), headers: [['name', bytes(6)]] }, 100],
    ["a payload of Node's", { payload: Buffer.from('abc') }, 3],
    [
      'every field',
      {
        payload: bytes(1),
        key: bytes(0),
        headers: [],
        id: crypto.randomUUID(),
        timestampMs: 0,
        expiresAtMs: 0,
        partition: 0,
      },
      1,
    ],
    ['the shortest time to live', { payload: bytes(1), ttlMs: 1 }, 1],
    ['the longest time to live', { payload: bytes(1), ttlMs: 8.64e15 }, 1],
    ['an expiry that has passed', { payload: bytes(1), expiresAtMs: 1 }, 1],
    [
      'fields that are undefined',
      { payload: bytes(1), key: undefined, headers: undefined, id: undefined },
      1,
    ],
  ])('takes %s and tells its size', (_, message, size) => {
    expect(check(message)).toBe(size)
  })

  it.each<readonly [string, unknown, string]>([
    ['no message', undefined, 'RTK_INVALID_ARGUMENT'],
    ['a text', 'hello', 'RTK_INVALID_ARGUMENT'],
    ['no payload', {}, 'RTK_INVALID_ARGUMENT'],
    ['a payload that is text', { payload: 'hello' }, 'RTK_INVALID_ARGUMENT'],
    ['a payload that is an ArrayBuffer', { payload: new ArrayBuffer(3) }, 'RTK_INVALID_ARGUMENT'],
    ['a key that is text', { payload: bytes(1), key: 'k' }, 'RTK_INVALID_ARGUMENT'],
    ['a key that is null', { payload: bytes(1), key: null }, 'RTK_INVALID_ARGUMENT'],
    ['an id that is no UUID', { payload: bytes(1), id: '7' }, 'RTK_INVALID_ARGUMENT'],
    ['a negative timestamp', { payload: bytes(1), timestampMs: -1 }, 'RTK_INVALID_ARGUMENT'],
    ['a fraction of a millisecond', { payload: bytes(1), timestampMs: 1.5 }, 'RTK_INVALID_ARGUMENT'],
    ['a timestamp that is no Date', { payload: bytes(1), timestampMs: 8.64e15 + 1 }, 'RTK_INVALID_ARGUMENT'],
    ['a time to live of nothing', { payload: bytes(1), ttlMs: 0 }, 'RTK_INVALID_ARGUMENT'],
    ['a negative time to live', { payload: bytes(1), ttlMs: -1 }, 'RTK_INVALID_ARGUMENT'],
    ['a fraction of a time to live', { payload: bytes(1), ttlMs: 1.5 }, 'RTK_INVALID_ARGUMENT'],
    ['an endless time to live', { payload: bytes(1), ttlMs: Infinity }, 'RTK_INVALID_ARGUMENT'],
    ['a time to live as text', { payload: bytes(1), ttlMs: '5' }, 'RTK_INVALID_ARGUMENT'],
    ['an expiry that is no Date', { payload: bytes(1), expiresAtMs: 8.64e15 + 1 }, 'RTK_INVALID_ARGUMENT'],
    ['an expiry before 1970', { payload: bytes(1), expiresAtMs: -1 }, 'RTK_INVALID_ARGUMENT'],
    [
      'both a time to live and an expiry',
      { payload: bytes(1), ttlMs: 5, expiresAtMs: 5 },
      'RTK_INVALID_ARGUMENT',
    ],
    ['a negative partition', { payload: bytes(1), partition: -1 }, 'RTK_INVALID_ARGUMENT'],
    ['a partition that is text', { payload: bytes(1), partition: '1' }, 'RTK_INVALID_ARGUMENT'],
    [
      'one byte too many',
      { payload: bytes(80), key: bytes(11), headers: [['name', bytes(6)]] },
      'RTK_MESSAGE_TOO_LARGE',
    ],
  ])('refuses %s', (_, message, code) => {
    expect(check(message)).toBe(code)
  })
})

describe('headers', () => {
  it.each<readonly [string, unknown]>([
    ['names of any script', [['ключ', bytes(0)]]],
    ['__proto__', [['__proto__', bytes(0)]]],
    [
      'names that repeat',
      [
        ['a', bytes(0)],
        ['a', bytes(0)],
      ],
    ],
    ['spaces and punctuation', [['a b:c/d', bytes(0)]]],
    [
      'what only resembles the reserved prefix',
      [
        ['rtk', bytes(0)],
        ['xrtk-a', bytes(0)],
      ],
    ],
  ])('may have %s', (_, headers) => {
    expect(headersOf(headers)).toBeTypeOf('number')
  })

  it.each<readonly [string, unknown]>([
    ['an object', { a: bytes(0) }],
    ['null', null],
    ['a name alone', [['a']]],
    ['three parts', [['a', bytes(0), bytes(0)]]],
    ['no pair', ['ab']],
    ['a name that is no text', [[1, bytes(0)]]],
    ['a value that is text', [['a', 'b']]],
    ['an empty name', [['', bytes(0)]]],
    ['a name that is too long as UTF-8', [['ключик', bytes(0)]]],
    ['a line feed', [['a\nb', bytes(0)]]],
    ['a carriage return', [['a\rb', bytes(0)]]],
    ['a NUL', [['a\0', bytes(0)]]],
    ['DEL', [['a\u007f', bytes(0)]]],
    ['a C1 control', [['a\u0085', bytes(0)]]],
    ['half of a surrogate pair', [['a\ud800', bytes(0)]]],
    ['the reserved prefix', [['rtk-id', bytes(16)]]],
    ['too many', ['a', 'b', 'c', 'd'].map((name) => [name, bytes(0)])],
    ['10,000 entries', Array.from({ length: 10_000 }, () => ['a', bytes(0)])],
    [
      'too many bytes together',
      [
        ['a', bytes(20)],
        ['b', bytes(19)],
      ],
    ],
  ])('are refused with %s', (_, headers) => {
    expect(headersOf(headers)).toBe('RTK_HEADER_INVALID')
  })

  it('are counted in bytes of UTF-8, names and values', () => {
    expect(
      validateHeaders(
        [
          ['ключ', bytes(3)],
          ['a', bytes(0)],
        ],
        limits,
      ),
    ).toBe(12)
  })

  it('show no control characters of theirs in the message', () => {
    expect(() =>
      validateHeaders([['a\nlevel=info', bytes(0)]], { ...limits, headerNameBytesMax: 99 }),
    ).toThrow(/a\\nlevel/)
  })
})

describe('a header name as bytes', () => {
  it('obeys the same rule as its text', () => {
    const name = fc.oneof(
      fc.string({ unit: anyCharacter, maxLength: 12 }),
      fc.string({ unit: 'binary-ascii', maxLength: 12 }),
      fc.string({ maxLength: 8 }).map((text) => `rtk-${text}`),
    )
    fc.assert(
      fc.property(name, fc.nat(5), (text, before) => {
        fc.pre(text.isWellFormed())
        const place = Uint8Array.from([...new Uint8Array(before), ...utf8(text), 0])
        const asText = codeOf(() => validateHeaders([[text, bytes(0)]], limits))
        const asBytes = codeOf(() => validateHeaderNameBytes(place, before, place.length - 1, limits))
        expect(asBytes).toBe(typeof asText === 'number' ? undefined : asText)
      }),
      { numRuns: 1_000 },
    )
  })

  it('is refused when it is not UTF-8', () => {
    for (const broken of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0x61, 0x80]]) {
      const run = () => validateHeaderNameBytes(Uint8Array.from(broken), 0, broken.length, limits)
      expect(codeOf(run)).toBe('RTK_HEADER_INVALID')
    }
  })
})

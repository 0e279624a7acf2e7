import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyCharacter } from '../testing/any-character.ts'
import * as ints from './bytes.ts'

/** The same varint by the plain rule, on bigint: zigzag, then seven bits a byte, the lowest first. */
function plainVarint(value: bigint): number[] {
  let rest = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
  const bytes: number[] = []
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  bytes.push(Number(rest))
  return bytes
}

const int32 = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.integer({ min: -200, max: 200 }),
  fc.constantFrom(-(2 ** 31), 2 ** 31 - 1, 63, 64, -64, -65, 8_191, 8_192, 1_048_575, 134_217_728),
)
const int53 = fc.oneof(int32, fc.integer({ min: -(2 ** 52) + 1, max: 2 ** 52 - 1 }), fc.maxSafeInteger())

describe('integers of fixed size', () => {
  it('are read as DataView writes them, and written as it reads them', () => {
    fc.assert(
      fc.property(int32, fc.maxSafeInteger(), fc.nat(7), (small, large, at) => {
        const bytes = new Uint8Array(16)
        const view = new DataView(bytes.buffer)
        view.setInt16(at, small)
        expect(ints.readInt16(bytes, at)).toBe(view.getInt16(at))
        ints.writeInt16(bytes, at, small & 0xffff)
        expect(view.getInt16(at)).toBe((small << 16) >> 16)
        view.setInt32(at, small)
        expect([ints.readInt32(bytes, at), ints.readUint32(bytes, at)]).toEqual([small, small >>> 0])
        ints.writeInt32(bytes, at, small)
        expect(view.getInt32(at)).toBe(small)
        view.setBigInt64(at, BigInt(large))
        expect(ints.readInt64(bytes, at)).toBe(large)
        ints.writeInt64(bytes, at, large)
        expect(view.getBigInt64(at)).toBe(BigInt(large))
      }),
    )
  })
})

describe('varints of 32 bits', () => {
  it('are written as the rule says, in the size foretold', () => {
    fc.assert(
      fc.property(int32, fc.nat(3), (value, at) => {
        const expected = plainVarint(BigInt(value))
        const bytes = new Uint8Array(12).fill(0xee)
        const end = ints.writeVarint(bytes, at, value)
        expect([...bytes.subarray(at, end)]).toEqual(expected)
        expect(ints.varintSize(value)).toBe(expected.length)
        expect(bytes[end]).toBe(0xee)
      }),
    )
  })

  it('are read back, whatever follows', () => {
    fc.assert(
      fc.property(int32, fc.uint8Array({ maxLength: 4 }), (value, after) => {
        const bytes = Uint8Array.from([...plainVarint(BigInt(value)), ...after])
        expect(ints.unzigzag(ints.readRawVarint(bytes, 0))).toBe(value)
        expect(ints.varintEnd).toBe(bytes.length - after.length)
      }),
    )
  })

  it('end nowhere when they go on after five bytes, and beyond the end when they are cut off', () => {
    ints.readRawVarint(new Uint8Array(10).fill(0x80), 0)
    expect(ints.varintEnd).toBe(Number.POSITIVE_INFINITY)
    ints.readRawVarint(Uint8Array.of(0x80, 0x80), 0)
    expect(ints.varintEnd).toBeGreaterThan(2)
  })
})

describe('varints of 64 bits', () => {
  it('are written as the rule says, in the size foretold', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 52) + 1, max: 2 ** 52 - 1 }), (value) => {
        const expected = plainVarint(BigInt(value))
        const bytes = new Uint8Array(10)
        expect([...bytes.subarray(0, ints.writeVarlong(bytes, 0, value))]).toEqual(expected)
        expect(ints.varlongSize(value)).toBe(expected.length)
      }),
    )
  })

  it('are read back exactly as long as a number can hold them', () => {
    fc.assert(
      fc.property(int53, (value) => {
        const bytes = Uint8Array.from([...plainVarint(BigInt(value)), 0xff])
        expect(ints.readVarlong(bytes, 0)).toBe(value)
        expect(ints.varintEnd).toBe(bytes.length - 1)
      }),
    )
  })

  it('keep sign and size beyond that', () => {
    for (const value of [2n ** 63n - 1n, -(2n ** 63n)]) {
      expect(ints.readVarlong(Uint8Array.from(plainVarint(value)), 0)).toBeCloseTo(Number(value), -6)
    }
  })

  it('end nowhere when they go on after ten bytes', () => {
    ints.readVarlong(new Uint8Array(20).fill(0xff), 0)
    expect(ints.varintEnd).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('texts', () => {
  const text = fc.oneof(fc.string({ unit: anyCharacter }), fc.string({ unit: 'grapheme' }), fc.string())

  it('are measured and written as the platform encodes them, halves of pairs too', () => {
    const anyUnits = fc.array(fc.nat(0xffff)).map((units) => String.fromCharCode(...units))
    fc.assert(
      fc.property(fc.oneof(text, anyUnits), fc.nat(3), (value, at) => {
        const expected = new TextEncoder().encode(value)
        expect(ints.utf8(value)).toEqual(expected)
        expect(ints.utf8Size(value)).toBe(expected.length)
        const bytes = new Uint8Array(at + expected.length)
        expect(ints.writeUtf8(bytes, at, value)).toBe(bytes.length)
        expect(bytes.subarray(at)).toEqual(expected)
      }),
    )
  })

  it('come back as they were, a leading U+FEFF too', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: anyCharacter }).filter((value) => value.isWellFormed()),
        (value) => {
          expect(ints.utf8Text(ints.utf8(value))).toBe(value)
        },
      ),
    )
    expect(ints.utf8Text(ints.utf8('\ufeffname'))).toBe('\ufeffname')
  })
})

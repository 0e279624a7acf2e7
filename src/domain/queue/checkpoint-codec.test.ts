import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isRatatoskrError } from '../errors.ts'
import { checkpointBytesMax, type QueueCheckpoint, storedCauses, type TriedRun } from './checkpoint.ts'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint-codec.ts'

const time = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 42 }))
const gaps = fc.array(fc.tuple(fc.integer({ min: 1, max: 2 ** 33 }), fc.integer({ min: 1, max: 2 ** 20 })))
const checkpoint: fc.Arbitrary<QueueCheckpoint> = fc
  .record({
    floor: fc.nat(2 ** 40),
    epoch: fc.nat(2 ** 20),
    deliveryBound: fc.nat(2 ** 50),
    gaps,
    tried: fc.array(
      fc.tuple(
        fc.nat(9),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 0x7fff }),
        time,
        time,
        time,
        fc.boolean(),
      ),
    ),
    failing: fc.array(
      fc.tuple(fc.nat(9), fc.constantFrom(...storedCauses), fc.string({ unit: 'grapheme', maxLength: 20 })),
    ),
  })
  .map(({ gaps: pairs, tried: given, failing: failed, ...rest }) => {
    const settled: number[] = []
    let at = rest.floor
    for (const [gap, length] of pairs) {
      settled.push(at + gap, at + gap + length)
      at += gap + length
    }
    const tried: TriedRun[] = []
    at = rest.floor
    for (const [gap, length, attempts, dueMs, firstAtMs, lastAtMs, failing] of given) {
      tried.push({ from: at + gap, to: at + gap + length, attempts, dueMs, firstAtMs, lastAtMs, failing })
      at += gap + length
    }
    at = rest.floor
    const failures = failed.map(([gap, cause, error]) => {
      at += gap + 1
      return { offset: at - 1, cause, error }
    })
    return { ...rest, settled, tried, ...(failures.length > 0 && { failures }) }
  })

const corrupt = expect.objectContaining({ code: 'RTK_STORE_CORRUPT' })

describe('the checkpoint codec', () => {
  it('reads what it wrote', () => {
    fc.assert(
      fc.property(checkpoint, (value) => {
        expect(decodeCheckpoint(encodeCheckpoint(value))).toEqual(value)
      }),
    )
  })

  it('refuses damaged bytes with RTK_STORE_CORRUPT, or reads them as another checkpoint', () => {
    const damage = fc.record({ at: fc.nat(200), byte: fc.nat(255), cut: fc.nat(200) })
    fc.assert(
      fc.property(checkpoint, damage, (value, { at, byte, cut }) => {
        const bytes = encodeCheckpoint(value)
        bytes[at % bytes.length] = byte
        expectReadOrCorrupt(bytes.subarray(0, bytes.length - (cut % 3 === 0 ? cut : 0)))
      }),
      { numRuns: 2_000 },
    )
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), expectReadOrCorrupt), { numRuns: 2_000 })
  })

  it('refuses what is too short, too long, of another version, or too large', () => {
    const bytes = encodeCheckpoint({ floor: 1, epoch: 1, deliveryBound: 1, settled: [], tried: [] })
    expect(bytes).toEqual(Uint8Array.of(1, 1, 1, 1, 0, 0, 0))
    expect(() => decodeCheckpoint(bytes.subarray(0, 6))).toThrow(corrupt)
    expect(() => decodeCheckpoint(Uint8Array.of(...bytes, 0))).toThrow(corrupt)
    expect(() => decodeCheckpoint(Uint8Array.of(2, 1, 1, 1, 0, 0, 0))).toThrow(corrupt)
    expect(() => decodeCheckpoint(Uint8Array.of(2, 1, 1, 1, 0, 0, 0, 0))).toThrow(corrupt)
    expect(() => decodeCheckpoint(Uint8Array.of(1, 1, 1, 1, 0, 1, 0, 0, 0))).toThrow(corrupt)
    expect(() => decodeCheckpoint(Uint8Array.of(1, ...new Array(8).fill(0xff)))).toThrow(corrupt)
    expect(() => decodeCheckpoint(new Uint8Array(checkpointBytesMax + 1).fill(1))).toThrow(corrupt)
  })

  it('stays within its size: neighbours share their times first, and none is due too early', () => {
    const tried = Array.from({ length: 100_000 }, (_, offset) => ({
      from: offset,
      to: offset + 1,
      attempts: 2,
      dueMs: 1e12 + ((offset * 7_919) % 30_000),
      firstAtMs: 1e12 - offset,
      lastAtMs: 1e12,
      failing: false,
    }))
    const bytes = encodeCheckpoint({ floor: 0, epoch: 1, deliveryBound: 1, settled: [], tried })
    expect(bytes.length).toBeLessThanOrEqual(checkpointBytesMax)
    expect(decodeCheckpoint(bytes).tried).toEqual([
      { ...tried[0], to: 100_000, dueMs: 1e12 + 29_999, firstAtMs: 1e12 - 99_999 },
    ])
  })

  it('stays within its size: of many failures the first are kept, and those below the floor are not', () => {
    const error = 'x'.repeat(200)
    const failures = Array.from({ length: 1_000 }, (_, offset) => ({ offset, cause: 'nack' as const, error }))
    const bytes = encodeCheckpoint({
      floor: 5,
      epoch: 1,
      deliveryBound: 1,
      settled: [],
      tried: [],
      failures,
    })
    expect(bytes.length).toBeLessThanOrEqual(33 * 1024)
    const read = decodeCheckpoint(bytes).failures ?? []
    expect(read.length).toBeGreaterThan(100)
    expect(read).toEqual(failures.slice(5, 5 + read.length))
  })

  it('stays within its size: the highest offsets are left out', () => {
    const settled = Array.from({ length: 300_000 }, (_, i) => 1 + Math.floor(i / 2) * 100_000 + (i % 2))
    const tried = Array.from({ length: 200_000 }, (_, i) => ({
      from: i * 2,
      to: i * 2 + 1,
      attempts: 1 + (i % 5),
      dueMs: 1e12 + i,
      firstAtMs: 1e12,
      lastAtMs: 1e12,
      failing: false,
    }))
    const bytes = encodeCheckpoint({ floor: 0, epoch: 1, deliveryBound: 1, settled, tried })
    expect(bytes.length).toBeLessThanOrEqual(checkpointBytesMax)
    const read = decodeCheckpoint(bytes)
    expect(read.settled).toHaveLength(65_536 * 2)
    expect(read.settled).toEqual(settled.slice(0, read.settled.length))
    expect(read.tried.length).toBeGreaterThan(1_000)
    expect(read.tried).toEqual(tried.slice(0, read.tried.length))
  })
})

function expectReadOrCorrupt(bytes: Uint8Array): void {
  try {
    const read = decodeCheckpoint(bytes)
    expect(decodeCheckpoint(encodeCheckpoint(read))).toEqual(read)
  } catch (error) {
    if (!isRatatoskrError(error, 'RTK_STORE_CORRUPT')) throw error
  }
}

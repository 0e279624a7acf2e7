/** What is found in a damaged segment, against what was written: nothing made up, nothing lost but what is damaged. */
import fc from 'fast-check'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { BatchBuilder, baseOffsetOf, batchSizeOf, type DiskFile, stampBatch } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { rounds } from '../../../src/testing/rounds.ts'
import type { Gap } from './place.ts'
import { type SegmentScan, scanSegment } from './segment-scan.ts'

const { checksum } = nodePlatform({ logger: silentLogger })
const base = 1_000

const fileOf = (bytes: Uint8Array): DiskFile => ({
  async read(into, position) {
    const part = bytes.subarray(position, position + into.length)
    into.set(part)
    return part.length
  },
  write: () => Promise.reject(new Error('read only')),
  sync: () => Promise.reject(new Error('read only')),
  truncate: () => Promise.reject(new Error('read only')),
  async size() {
    return bytes.length
  },
  async close() {},
})

interface Found {
  readonly scan: SegmentScan
  /** The bytes of each batch by its base offset. */
  readonly batches: ReadonlyMap<number, string>
}

async function scanned(bytes: Uint8Array, limitOffset?: number): Promise<Found> {
  const batches = new Map<number, string>()
  const source = { file: fileOf(bytes), sizeBytes: bytes.length, checksum, baseOffset: base, limitOffset }
  const from = { position: 0, offset: base }
  const scan = await scanSegment(source, from, false, (found, at) => {
    const batch = found.subarray(at, at + batchSizeOf(found, at))
    batches.set(baseOffsetOf(batch), Buffer.from(batch).toString('hex'))
  })
  return { scan, batches }
}

/** Batches of one to three records from `base` on. */
function segmentOf(payloads: readonly Uint8Array[]): Uint8Array[] {
  let offset = base
  return payloads.map((payload, i) => {
    const builder = new BatchBuilder({ checksum })
    const count = 1 + (i % 3)
    for (let record = 0; record < count; record++)
      builder.add({ payload, timestampMs: 1_700_000_000_000 + i })
    const batch = builder.build()
    stampBatch(batch, offset, 0)
    offset += count
    return batch
  })
}

const plain = (count: number, size = 90): Uint8Array[] =>
  segmentOf(Array.from({ length: count }, (_, i) => new Uint8Array(size + i).fill(i)))
const startsOf = (batches: readonly Uint8Array[]): number[] =>
  batches.map((_, i) => batches.slice(0, i).reduce((sum, batch) => sum + batch.length, 0))
const endOf = (batches: readonly Uint8Array[]): number =>
  batches.reduce((sum, _, i) => sum + 1 + (i % 3), base)
const flipped = (bytes: Uint8Array, at: number, mask = 0x20): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  copy[at] ^= mask
  return copy
}
const lostIn = (gaps: readonly Gap[]): number[] =>
  gaps.flatMap(({ offset, endOffset }) => Array.from({ length: endOffset - offset }, (_, i) => offset + i))
const joined = (batches: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(batches))

describe('a damaged byte', () => {
  it('anywhere, costs its batch and no other', async () => {
    const batches = plain(6)
    const bytes = joined(batches)
    const starts = startsOf(batches)
    for (let at = 0; at < starts[5]; at++) {
      const hit = starts.findLastIndex((start) => start <= at)
      const { scan, batches: found } = await scanned(flipped(bytes, at, 1 << (at % 8)))
      expect(scan.torn, `byte ${at}`).toBeUndefined()
      expect(lostIn(scan.gaps).length, `byte ${at}`).toBe(1 + (hit % 3))
      expect([...found.values()], `byte ${at}`).toEqual(
        batches.filter((_, i) => i !== hit).map((batch) => Buffer.from(batch).toString('hex')),
      )
    }
  })

  it('in the last batch of a sealed segment is a gap that ends with the segment', async () => {
    const batches = plain(4)
    const bytes = joined(batches)
    for (let at = startsOf(batches)[3]; at < bytes.length; at++) {
      const { scan, batches: found } = await scanned(flipped(bytes, at), endOf(batches))
      expect(found.size, `byte ${at}`).toBe(3)
      expect(scan.gaps.at(-1), `byte ${at}`).toMatchObject({
        endPosition: bytes.length,
        endOffset: endOf(batches),
      })
    }
  })

  it('in the last batch that is written is a torn end, but where the batch is whole all the same', async () => {
    const batches = plain(3)
    const bytes = joined(batches)
    const last = startsOf(batches)[2]
    for (let at = last; at < bytes.length; at++) {
      const { scan } = await scanned(flipped(bytes, at))
      // Base offset, length and epoch lie outside the checksum, which says that the rest is as it was written.
      if (at - last < 16) {
        expect(scan.torn, `byte ${at}`).toBeUndefined()
        expect(scan.end.offset, `byte ${at}`).toBeGreaterThanOrEqual(endOf(batches))
      } else expect(scan, `byte ${at}`).toMatchObject({ gaps: [], end: { position: last } })
    }
  })
})

describe('payloads that hold batches', () => {
  /** A batch whose payload is `count` batches that go on where an attacker hopes. */
  const mirrored = (count: number, offset: number): Uint8Array =>
    joined(
      Array.from({ length: count }, (_, i) =>
        sampleBatch({ baseOffset: offset + i, payloadBytes: 40, seed: i }),
      ),
    )

  it('are no way on from a torn end, wherever it is torn', async () => {
    const whole = segmentOf([new Uint8Array(50), mirrored(5, base + 2), new Uint8Array(10)])
    const keep = whole[0].length
    const bytes = joined(whole)
    for (let size = bytes.length - 1; size > keep; size -= 3) {
      const { scan, batches } = await scanned(bytes.subarray(0, size))
      expect(scan.gaps, `${size} bytes`).toEqual([])
      expect(
        [...batches.keys()].filter((offset) => offset > base + 1),
        `${size} bytes`,
      ).toEqual([])
    }
  })

  it('are no way on from blocks that were never written, as a power cut leaves them', async () => {
    const whole = segmentOf([new Uint8Array(400), mirrored(30, base + 2)])
    const bytes = joined(whole)
    const second = whole[0].length
    for (let at = second - 2_047; at < bytes.length; at += 7) {
      for (const size of [64, 512, 2048]) {
        // What was there before is synced: of a block across the border only the new part is lost.
        const holed = Uint8Array.from(bytes).fill(0, Math.max(at, second), Math.max(at + size, second))
        const { scan, batches } = await scanned(holed)
        if (batches.has(base + 1)) continue
        expect([scan.gaps, [...batches.keys()]], `${size} at ${at}`).toEqual([[], [base]])
        expect(scan.end).toEqual({ position: second, offset: base + 1 })
      }
    }
  })

  it('are not served in place of the damaged batch around them', async () => {
    const batches = segmentOf([
      new Uint8Array(50),
      mirrored(6, base + 1),
      new Uint8Array(10),
      new Uint8Array(10),
    ])
    const bytes = joined(batches)
    const [, second, third] = startsOf(batches)
    for (let at = second; at < third; at++) {
      const { scan, batches: found } = await scanned(flipped(bytes, at, 1 << (at % 8)))
      expect(lostIn(scan.gaps), `byte ${at}`).toEqual([base + 1, base + 2])
      expect([...found.keys()], `byte ${at}`).toEqual([base, base + 3, base + 6])
    }
  })

  it('with offsets from far away do not take the log there', async () => {
    const far = mirrored(3, base + 2 ** 40)
    const batches = segmentOf([new Uint8Array(50), far, new Uint8Array(10), new Uint8Array(10)])
    const bytes = joined(batches)
    const [, second] = startsOf(batches)
    bytes.fill(0xff, second, second + 30)
    const { scan, batches: found } = await scanned(bytes)
    expect([...found.keys()]).toEqual([base, base + 3, base + 6])
    expect(scan.end.offset).toBe(endOf(batches))
  })
})

describe('bytes that are more or fewer', () => {
  const batches = plain(5)
  const hex = batches.map((batch) => Buffer.from(batch).toString('hex'))
  const all = [...hex.keys()]

  it('a batch that stands there twice is passed over', async () => {
    for (const twice of all) {
      const bytes = joined(batches.flatMap((batch, i) => (i === twice ? [batch, batch] : [batch])))
      const { scan, batches: found } = await scanned(bytes)
      expect([...found.values()], `batch ${twice}`).toEqual(hex)
      expect([lostIn(scan.gaps), scan.end.offset], `batch ${twice}`).toEqual([[], endOf(batches)])
    }
  })

  it('a batch that is missing is a gap of no bytes', async () => {
    for (const missing of [0, 1, 2]) {
      const { scan, batches: found } = await scanned(joined(batches.filter((_, i) => i !== missing)))
      expect([...found.values()], `batch ${missing}`).toEqual(hex.filter((_, i) => i !== missing))
      expect(lostIn(scan.gaps).length, `batch ${missing}`).toBe(1 + (missing % 3))
      expect(scan.end.offset).toBe(endOf(batches))
    }
  })

  it('a last batch with a larger offset than expected is not served, and its offsets are not used again', async () => {
    const { scan, batches: found } = await scanned(joined(batches.filter((_, i) => i !== 3)))
    expect([...found.values()]).toEqual(hex.slice(0, 3))
    expect(scan).toMatchObject({ torn: undefined, end: { offset: endOf(batches) } })
  })

  it('a stale copy of batches behind the end is none of the log: no offset is made up', async () => {
    const whole = Buffer.concat(plain(6))
    const chain: Uint8Array[] = []
    let offset = 100
    for (const batch of plain(4, 40)) {
      stampBatch(batch, offset, 0)
      offset += 1 + (chain.length % 3)
      chain.push(batch)
    }
    for (const behind of [[], [new Uint8Array(500)], [new Uint8Array(30).fill(7)]]) {
      const { scan, batches: found } = await scanned(Buffer.concat([whole, ...chain, ...behind]))
      expect(scan).toMatchObject({
        gaps: [],
        end: { position: whole.length, offset: base + 12 },
        torn: expect.any(String),
      })
      expect(found.size).toBe(6)
    }
  })

  it('zeros at the end are an end, in a segment that is written and in one that is sealed', async () => {
    const bytes = joined([...batches, new Uint8Array(5_000)])
    expect((await scanned(bytes)).scan).toMatchObject({ gaps: [], end: { offset: endOf(batches) } })
    const sealed = await scanned(bytes, endOf(batches))
    expect([[...sealed.batches.values()], lostIn(sealed.scan.gaps)]).toEqual([hex, []])
  })

  it('a sealed segment of junk is one gap', async () => {
    const { scan, batches: found } = await scanned(new Uint8Array(3_000).fill(7), base + 50)
    expect(found.size).toBe(0)
    expect(scan.gaps).toEqual([{ position: 0, endPosition: 3_000, offset: base, endOffset: base + 50 }])
  })
})

describe('several damaged places', () => {
  const hexOf = (batches: readonly Uint8Array[]): string[] =>
    batches.map((batch) => Buffer.from(batch).toString('hex'))

  it('hide nothing behind them: a damaged count of records contradicts no batch that follows', async () => {
    const batches = plain(12, 260)
    const starts = startsOf(batches)
    const bytes = joined(batches)
    // The base offset of the first, the number of records of the fifth, and the base offset of the one behind it.
    bytes[0] = 0xff
    bytes[starts[4] + 24] = 0xff
    bytes.fill(0xff, starts[5] - 47, starts[5] + 1)
    const { batches: found } = await scanned(bytes, endOf(batches))
    expect([...found.values()]).toEqual(hexOf(batches).filter((_, i) => ![0, 4, 5].includes(i)))
  })

  it('leave a batch alone between them when a neighbour confirms its offset, and give it up when one contradicts it', async () => {
    const batches = plain(6)
    const starts = startsOf(batches)
    // What is before it has no header any more; the next one has another offset, which the one after that contradicts.
    const bytes = joined(batches).fill(0xff, starts[1], starts[1] + 61)
    bytes[starts[3] + 7] ^= 1
    const confirmed = await scanned(bytes, endOf(batches))
    expect([...confirmed.batches.values()]).toEqual(hexOf(batches).filter((_, i) => i !== 1 && i !== 3))
    // The batch alone has another offset, and contradicts the next one.
    const doubtful = joined(batches).fill(0xff, starts[3], starts[3] + 61)
    doubtful[starts[4] + 7] ^= 1
    const { batches: found } = await scanned(doubtful, endOf(batches))
    expect([...found.values()]).toEqual(hexOf(batches).filter((_, i) => i !== 3 && i !== 4))
  })

  it('do not make a batch out of a payload to which a damaged length leads', async () => {
    // It has the offset that must follow there; what really follows has it, too.
    const inner = sampleBatch({ baseOffset: base + 3, payloadBytes: 40, seed: 1 })
    const payload = joined([new Uint8Array(400).fill(0x5a), inner, new Uint8Array(400).fill(0x5a)])
    const batches = segmentOf([new Uint8Array(50), payload, new Uint8Array(10), new Uint8Array(10)])
    const bytes = joined(batches)
    const [, start] = startsOf(batches)
    new DataView(bytes.buffer).setInt32(start + 8, Buffer.from(bytes).indexOf(inner) - start - 12)
    for (const limitOffset of [endOf(batches), undefined]) {
      const { batches: found } = await scanned(bytes, limitOffset)
      expect([...found.values()]).toEqual(hexOf(batches).filter((_, i) => i !== 1))
    }
  })
})

it('damage makes no batch up, and loses none but what it touches or what lies between two damaged places', async () => {
  const damage = fc.record({
    at: fc.nat(4_000),
    size: fc.integer({ min: 1, max: 700 }),
    fill: fc.oneof(fc.constant(0), fc.constant(0xff), fc.nat(255)),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 10, max: 300 }),
      fc.array(damage, { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      async (size, all, isSealed) => {
        // Where a segment is written, a torn end explains several damaged places with what is whole between them.
        const damages = isSealed ? all : all.slice(0, 1)
        const batches = plain(12, size)
        const whole = joined(batches)
        const bytes = Uint8Array.from(whole)
        for (const { at, size: length, fill } of damages) bytes.fill(fill, at, at + length)
        const starts = startsOf(batches)
        const isTouched = (i: number): boolean =>
          whole
            .subarray(starts[i], starts[i] + batches[i].length)
            .some((byte, j) => bytes[starts[i] + j] !== byte)
        const { batches: found, scan } = await scanned(bytes, isSealed ? endOf(batches) : undefined)
        const written = new Set(batches.map((batch) => Buffer.from(batch).toString('hex')))
        for (const batch of found.values()) expect(written.has(batch)).toBe(true)
        const touched = batches.map((_, i) => i).filter(isTouched)
        const [first, last] = [touched.at(0) ?? 0, touched.at(-1) ?? -1]
        for (const [i, batch] of batches.entries()) {
          const isBetween = damages.length > 1 && i > first && i < last
          if (!isTouched(i) && !isBetween) expect(found.has(baseOffsetOf(batch)), `batch ${i}`).toBe(true)
        }
        if (scan.torn !== undefined) expect(scan.gaps).toEqual([])
      },
    ),
    { numRuns: rounds(400, 120) },
  )
})

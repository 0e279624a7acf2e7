import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BatchBuffer } from './batch-buffer.ts'
import { BatchBuilder } from './builder.ts'
import { baseOffsetOf, batchStarts, endOffsetOf, maxTimestampOf, stampBatch } from './header.ts'
import { SparseIndex } from './sparse-index.ts'

interface Shape {
  readonly records: number
  readonly payloadBytes: number
  readonly timestampMs: number
}

const shapes = fc.array(
  fc.record({
    records: fc.integer({ min: 1, max: 5 }),
    payloadBytes: fc.oneof(fc.nat(40), fc.nat(3_000)),
    timestampMs: fc.nat(50),
  }),
  { minLength: 1, maxLength: 25 },
)

/** The batches of the shapes, at consecutive offsets from `baseOffset`. */
function batchesOf(list: readonly Shape[], baseOffset: number): Uint8Array[] {
  const builder = new BatchBuilder({ checksum: () => 0 })
  let offset = baseOffset
  return list.map(({ records, payloadBytes, timestampMs }) => {
    for (let i = 0; i < records; i++) builder.add({ payload: new Uint8Array(payloadBytes), timestampMs })
    const batch = builder.build()
    stampBatch(batch, offset, 0)
    offset += records
    return batch
  })
}

function filled(list: readonly Shape[], baseOffset: number) {
  const batches = batchesOf(list, baseOffset)
  const buffer = new BatchBuffer(
    baseOffset,
    batches.reduce((sum, batch) => sum + batch.length, 0),
  )
  batches.forEach((batch, i) => {
    expect(buffer.hasRoom(batch.length)).toBe(true)
    buffer.append(batch, list[i].records)
  })
  return { batches, buffer }
}

const concat = (batches: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(batches))

describe('BatchBuffer', () => {
  it('reads from every offset what a plain list of batches would give', () => {
    fc.assert(
      fc.property(shapes, fc.nat(1_000), fc.nat(12_000), fc.nat(), (list, base, bytesMax, limitPick) => {
        const { batches, buffer } = filled(list, base)
        const ends = batches.map((batch) => endOffsetOf(batch) as number)
        const limit = ends[limitPick % ends.length]
        for (let offset = base; offset < limit; offset++) {
          const first = ends.findIndex((end) => end > offset)
          const expected: Uint8Array[] = []
          let size = 0
          for (let i = first; i < batches.length && ends[i] <= limit; i++) {
            if (expected.length > 0 && size + batches[i].length > bytesMax) break
            expected.push(batches[i])
            size += batches[i].length
          }
          expect(Buffer.compare(buffer.read(offset, limit, bytesMax), concat(expected))).toBe(0)
        }
      }),
      { numRuns: 60 },
    )
  })

  it('finds the first batch of a time', () => {
    fc.assert(
      fc.property(shapes, fc.nat(60), (list, timestampMs) => {
        const { batches, buffer } = filled(list, 7)
        const place = batches.findIndex((batch) => maxTimestampOf(batch) >= timestampMs)
        const position = place === -1 ? -1 : concat(batches.slice(0, place)).length
        expect(buffer.positionOfTime(timestampMs)).toBe(position)
        expect(buffer.maxTimestampMs).toBe(Math.max(...list.map((shape) => shape.timestampMs)))
      }),
      { numRuns: 60 },
    )
  })

  it('forgets what is cut, keeps what was handed out, and takes no more', () => {
    fc.assert(
      fc.property(shapes, fc.nat(), (list, pick) => {
        const { batches, buffer } = filled(list, 0)
        const handedOut = buffer.view(0, buffer.sizeBytes)
        const before = handedOut.slice()
        const starts = [...batchStarts(before)]
        const position = starts[pick % starts.length]
        const offset = baseOffsetOf(before, position)
        buffer.cut(position, offset)
        expect([buffer.endOffset, buffer.sizeBytes]).toEqual([offset, position])
        expect(buffer.hasRoom(0)).toBe(false)
        expect(handedOut).toEqual(before)
        if (offset > 0) {
          const left = concat(batches.slice(0, starts.indexOf(position)))
          expect(Buffer.compare(buffer.read(0, offset, 1e9), left)).toBe(0)
        }
      }),
      { numRuns: 60 },
    )
  })

  it('has room for its capacity and not a byte more, and none once it is sealed', () => {
    const buffer = new BatchBuffer(0, 100)
    expect([buffer.hasRoom(100), buffer.hasRoom(101)]).toEqual([true, false])
    buffer.seal()
    expect(buffer.hasRoom(1)).toBe(false)
    expect(buffer.maxTimestampMs).toBe(-1)
  })
})

describe('SparseIndex', () => {
  it('leads to the last entry at or below an offset or a position, also when it is read back', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 61, max: 6_000 })), {
      minLength: 1,
    })
    fc.assert(
      fc.property(steps, fc.nat(500), (list, probe) => {
        const index = new SparseIndex()
        let offset = 0
        let position = 0
        for (const [records, bytes] of list) {
          index.add(offset, position, offset)
          offset += records
          position += bytes
        }
        const entries = Array.from({ length: index.length }, (_, i) => ({
          offset: index.offsetAt(i),
          position: index.positionAt(i),
        }))
        entries.slice(1).forEach((entry, i) => {
          expect(entry.position - entries[i].position).toBeGreaterThanOrEqual(4_096)
        })
        expect(index.entryOfOffset(probe)).toBe(entries.findLastIndex((entry) => entry.offset <= probe))
        const place = probe * 100
        expect(index.entryOfPosition(place)).toBe(entries.findLastIndex((entry) => entry.position <= place))
        const again = new SparseIndex()
        for (let i = 0; i < index.length; i++)
          again.addEntry(index.offsetAt(i), index.positionAt(i), index.maxTimestampMsAt(i))
        expect(again.entryOfOffset(probe)).toBe(index.entryOfOffset(probe))
        again.cut(place)
        expect(again.length).toBe(entries.filter((entry) => entry.position < place).length)
      }),
    )
  })

  it('knows the greatest time of each block', () => {
    const index = new SparseIndex()
    const times = [5, 9, 2, 7, 1]
    times.forEach((timestampMs, i) => {
      index.add(i, i * 2_000, timestampMs)
    })
    expect([index.length, index.maxTimestampMsAt(0), index.maxTimestampMsAt(1)]).toEqual([2, 9, 7])
  })
})

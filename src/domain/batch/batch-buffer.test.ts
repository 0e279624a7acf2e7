import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BatchBuffer, isKeepable } from './batch-buffer.ts'
import { BatchBuilder } from './builder.ts'
import { baseOffsetOf, batchSizeOf, nextOffsetOf, stampBatch } from './header.ts'
import { SparseIndex } from './sparse-index.ts'

function batchAt(baseOffset: number, count: number, payloadBytes: number, timestampMs: number): Uint8Array {
  const builder = new BatchBuilder({ checksum: () => 0 })
  for (let i = 0; i < count; i++) builder.add({ payload: new Uint8Array(payloadBytes).fill(i), timestampMs })
  const batch = builder.build()
  stampBatch(batch, baseOffset, 0)
  return batch
}

const shapes = fc.array(
  fc.record({
    count: fc.integer({ min: 1, max: 5 }),
    payloadBytes: fc.integer({ min: 0, max: 900 }),
    timestampMs: fc.integer({ min: 0, max: 50 }),
  }),
  { minLength: 1, maxLength: 60 },
)

function filled(
  sizes: readonly { count: number; payloadBytes: number; timestampMs: number }[],
  baseOffset = 100,
): { buffer: BatchBuffer; batches: Uint8Array[] } {
  const buffer = new BatchBuffer(baseOffset, 1 << 20)
  const batches: Uint8Array[] = []
  for (const { count, payloadBytes, timestampMs } of sizes) {
    const batch = batchAt(buffer.endOffset, count, payloadBytes, timestampMs)
    buffer.append(batch, count)
    batches.push(batch)
  }
  return { buffer, batches }
}

it('reads from every offset, up to every limit, what a list of batches would give', () => {
  fc.assert(
    fc.property(
      shapes,
      fc.nat(40_000),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (sizes, bytesMax, share) => {
        const { buffer, batches } = filled(sizes)
        const limit = nextOffsetOf(batches[Math.floor(share * (batches.length - 1))])
        for (let offset = buffer.baseOffset; offset < limit; offset++) {
          const from = batches.findIndex((batch) => nextOffsetOf(batch) > offset)
          let expected = Buffer.from(batches[from])
          for (const next of batches.slice(from + 1)) {
            if (nextOffsetOf(next) > limit || expected.length + next.length > bytesMax) break
            expected = Buffer.concat([expected, next])
          }
          expect(expected.equals(buffer.read(offset, limit, bytesMax))).toBe(true)
        }
      },
    ),
    { numRuns: 60 },
  )
})

it('gives nothing when the first batch ends above the limit', () => {
  const { buffer } = filled([{ count: 3, payloadBytes: 10, timestampMs: 0 }])
  expect(buffer.read(100, 102, 1000).length).toBe(0)
})

it('finds the first batch at or after a time, also among timestamps that go back', () => {
  fc.assert(
    fc.property(shapes, fc.integer({ min: 0, max: 55 }), (sizes, time) => {
      const { buffer, batches } = filled(sizes)
      const at = buffer.positionOfTime(time)
      const expected = batches[sizes.findIndex(({ timestampMs }) => timestampMs >= time)]
      if (expected === undefined) expect(at).toBe(-1)
      else expect(baseOffsetOf(buffer.view(at, buffer.sizeBytes))).toBe(baseOffsetOf(expected))
      expect(buffer.maxTimestampMs).toBe(Math.max(...sizes.map(({ timestampMs }) => timestampMs)))
    }),
  )
})

it('after a cut, holds what was before it, takes nothing more, and leaves what was read', () => {
  fc.assert(
    fc.property(shapes, fc.nat(), (sizes, pick) => {
      const { buffer, batches } = filled(sizes)
      const held = buffer.read(100, buffer.endOffset, 1 << 20)
      const copy = Buffer.from(held)
      const first = baseOffsetOf(batches[pick % batches.length])
      buffer.cut(buffer.positionOf(first), first)
      expect(buffer.endOffset).toBe(first)
      expect(buffer.hasRoom(1)).toBe(false)
      if (first > 100) expect(nextOffsetOf(buffer.read(first - 1, first, 1))).toBe(first)
      expect(copy.equals(held)).toBe(true)
    }),
  )
})

it('has room for what fits, and for nothing once sealed', () => {
  const buffer = new BatchBuffer(0, 100)
  expect([buffer.hasRoom(100), buffer.hasRoom(101)]).toEqual([true, false])
  buffer.seal()
  expect(buffer.hasRoom(1)).toBe(false)
})

it('an index has an entry about every 4 KiB and finds the entry below any offset or position', () => {
  const index = new SparseIndex()
  for (let i = 0; i < 1_000; i++) index.add(i * 3, i * 100, i)
  expect(index.length).toBe(25)
  for (let i = 0; i < 1_000; i++) {
    const entry = index.entryOfOffset(i * 3 + 2)
    expect(index.offsetAt(entry)).toBeLessThanOrEqual(i * 3)
    expect(entry).toBe(index.entryOfPosition(i * 100))
    expect(i * 100 - index.positionAt(entry)).toBeLessThan(4_200)
    expect(index.maxTimestampMsAt(entry)).toBeGreaterThanOrEqual(i)
  }
  index.cut(4_100)
  expect(index.length).toBe(1)
  expect(new SparseIndex().entryOfOffset(5)).toBe(0)
})

it('sizes that a batch tells of itself are what the buffer counts', () => {
  const { buffer, batches } = filled([{ count: 2, payloadBytes: 5, timestampMs: 1 }])
  expect(buffer.sizeBytes).toBe(batchSizeOf(batches[0]))
})

it('keeps what is large and fills its buffer, but for the frame around it', () => {
  expect(isKeepable(new Uint8Array(64 * 1024))).toBe(true)
  expect(isKeepable(new Uint8Array(64 * 1024 - 1))).toBe(false)
  expect(isKeepable(new Uint8Array(100_050).subarray(50))).toBe(true)
  expect(isKeepable(new Uint8Array(200_000).subarray(100_000))).toBe(false)
})

it('holds a batch where it lies, and takes no more', () => {
  const batch = batchAt(7, 3, 40_000, 5)
  const run = BatchBuffer.of(Buffer.from(batch.buffer), 7, 3)
  expect(run).toMatchObject({ baseOffset: 7, endOffset: 10, sizeBytes: batch.length, maxTimestampMs: 5 })
  expect(run.hasRoom(0)).toBe(false)
  expect(run.seal()).toHaveLength(0)
  for (const offset of [7, 8, 9]) {
    const read = run.read(offset, 10, 1)
    expect(read.constructor).toBe(Uint8Array)
    expect(read.buffer).toBe(batch.buffer)
    expect(read).toEqual(batch)
  }
  expect(run.read(7, 9, 1_000_000)).toHaveLength(0)
})

it('gives the room that nobody has seen to the next run', () => {
  const { buffer, batches } = filled([{ count: 2, payloadBytes: 100, timestampMs: 1 }])
  const room = buffer.seal()
  expect(room).toHaveLength((1 << 20) - batches[0].length)
  const next = new BatchBuffer(buffer.endOffset, room)
  next.append(batchAt(buffer.endOffset, 1, 10, 2), 1)
  expect(Buffer.from(batches[0]).equals(buffer.read(buffer.baseOffset, buffer.endOffset, 1))).toBe(true)
  const cut = filled([{ count: 1, payloadBytes: 10, timestampMs: 1 }]).buffer
  cut.cut(0, cut.baseOffset)
  expect(cut.seal()).toHaveLength(0)
})

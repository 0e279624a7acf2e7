import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BatchBuilder, messagesOf, portableCrc32c, stampBatch, utf8 } from '../../ports/index.ts'
import { type Cut, cutDelivery, expiredIn } from './cutting.ts'

/** Turns bytes round: as good as a codec where nobody looks at sizes. */
const codec = {
  id: 1,
  name: 'gzip',
  compress: (bytes: Uint8Array) => bytes.toReversed(),
  decompress: (bytes: Uint8Array) => bytes.toReversed(),
}
const expansion = { codecs: new Map([[1, codec]]), bytesMax: 1_000_000 }
const unable = { codecs: new Map(), bytesMax: 1_000_000 }

/** Offsets of the records of whole batches. */
const offsetsOf = ({ bytes }: { readonly bytes: Uint8Array }): number[] =>
  [...messagesOf(bytes, { topic: 't', topicId: 't', partition: 0, expansion })].map(({ offset }) => offset)

/** Batches of these numbers of records, back to back, from offset 0 on. */
function batches(counts: readonly number[], compressed = false, expiresAtMs?: number): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c, compression: compressed ? codec : undefined })
  const parts: Uint8Array[] = []
  let offset = 0
  for (const count of counts) {
    for (let i = 0; i < count; i++)
      builder.add({ payload: utf8(`m${offset + i}`), timestampMs: 0, expiresAtMs })
    const batch = builder.build()
    stampBatch(batch, offset, 0)
    parts.push(batch)
    offset += count
  }
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let end = 0
  for (const part of parts) {
    bytes.set(part, end)
    end += part.length
  }
  return bytes
}

const all = { from: 0, to: 1_000, messagesMax: 1_000, bytesMax: 1_000_000, firstBytesMax: 1_000_000 }
const cutOf = (bytes: Uint8Array, at: number, bounds: Partial<typeof all>, reading = expansion): Cut =>
  cutDelivery(bytes, at, { ...all, ...bounds }, portableCrc32c, reading)

describe('what a member is given', () => {
  it('is whole batches by reference, as many as fit', () => {
    const bytes = batches([2, 3, 4])
    const cut = cutOf(bytes, 0, { messagesMax: 6 })
    expect(cut).toMatchObject({ kind: 'cut', from: 0, to: 5, count: 5 })
    expect(cut.kind === 'cut' && cut.bytes.buffer === bytes.buffer).toBe(true)
  })

  it.each([false, true])(
    'is a part of the first batch when not all of it fits (compressed: %s)',
    (compressed) => {
      const bytes = batches([5], compressed)
      const cut = cutOf(bytes, 0, { from: 1, messagesMax: 3 })
      expect(cut).toMatchObject({ kind: 'cut', from: 1, to: 4, count: 3 })
      expect(cut.kind === 'cut' && offsetsOf(cut)).toEqual([1, 2, 3])
    },
  )

  it('is nothing when not even one record fits, unless it may come alone', () => {
    const bytes = batches([2])
    const short = cutOf(bytes, 0, { bytesMax: 10, firstBytesMax: 10 })
    expect(short.kind).toBe('short')
    const sizeBytes = short.kind === 'short' ? short.sizeBytes : 0
    expect(cutOf(bytes, 0, { bytesMax: 10, firstBytesMax: sizeBytes })).toMatchObject({
      kind: 'cut',
      count: 1,
    })
  })

  it('is a batch that cannot be decoded as a whole, or not at all', () => {
    const bytes = batches([3], true)
    expect(cutOf(bytes, 0, {}, unable)).toMatchObject({ kind: 'cut', count: 3 })
    expect(cutOf(bytes, 0, { from: 1 }, unable)).toEqual({ kind: 'whole', from: 1, to: 3 })
  })

  it('stays within all bounds, and leaves nothing out', () => {
    const counts = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 })
    const bounds = { messagesMax: fc.integer({ min: 1, max: 8 }), bytesMax: fc.integer({ min: 1, max: 400 }) }
    fc.assert(
      fc.property(
        counts,
        fc.record(bounds),
        fc.boolean(),
        fc.nat(4),
        (sizes, { messagesMax, bytesMax }, compressed, skip) => {
          const bytes = batches(sizes, compressed)
          const from = Math.min(skip, sizes[0] - 1)
          const cut = cutOf(bytes, 0, { from, messagesMax, bytesMax, firstBytesMax: 1_000 })
          if (cut.kind !== 'cut') throw new Error(cut.kind)
          const offsets = offsetsOf(cut)
          expect(offsets).toEqual(Array.from({ length: cut.count }, (_, i) => from + i))
          expect(cut.count).toBeLessThanOrEqual(messagesMax)
          expect(cut.bytes.length <= bytesMax || cut.count === 1).toBe(true)
          expect(cut.to).toBe(from + cut.count)
        },
      ),
    )
  })
})

it('finds what has expired, and nothing in what cannot be decoded', () => {
  expect(expiredIn(batches([2, 1], false, 500), 500, expansion)).toEqual([0, 3])
  expect(expiredIn(batches([2, 1], false, 500), 499, expansion)).toEqual([])
  expect(expiredIn(batches([2], true, 500), 500, expansion)).toEqual([0, 2])
  expect(expiredIn(batches([2], true, 500), 500, unable)).toEqual([])
})

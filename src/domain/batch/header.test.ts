import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { portableCrc32c } from '../checksum.ts'
import { BatchBuilder } from './builder.ts'
import { utf8 } from './bytes.ts'
import * as header from './header.ts'

/** A batch of `records` at `baseOffset`. */
function batchAt(baseOffset: number, records = 1): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (let i = 0; i < records; i++) builder.add({ payload: utf8(`message ${i}`), timestampMs: 1_000 + i })
  const batch = builder.build()
  header.stampBatch(batch, baseOffset, 3)
  return batch
}

const run = (...batches: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(batches))

describe('the fields of a batch header', () => {
  it('are where the layout says', () => {
    const bytes = new Uint8Array(70).map((_, i) => i)
    const view = new DataView(bytes.buffer)
    for (const at of [0, 9]) {
      expect(header.baseOffsetOf(bytes, at)).toBe(Number(view.getBigInt64(at)))
      expect(header.batchSizeOf(bytes, at)).toBe(view.getInt32(at + 8) + 12)
      expect(header.leaderEpochOf(bytes, at)).toBe(view.getInt32(at + 12))
      expect(header.magicOf(bytes, at)).toBe(view.getInt8(at + 16))
      expect(header.crcOf(bytes, at)).toBe(view.getUint32(at + 17))
      expect(header.attributesOf(bytes, at)).toBe(view.getInt16(at + 21))
      expect(header.lastOffsetDeltaOf(bytes, at)).toBe(view.getInt32(at + 23))
      expect(header.baseTimestampOf(bytes, at)).toBe(Number(view.getBigInt64(at + 27)))
      expect(header.maxTimestampOf(bytes, at)).toBe(Number(view.getBigInt64(at + 35)))
      expect(header.producerIdOf(bytes, at)).toBe(Number(view.getBigInt64(at + 43)))
      expect(header.producerEpochOf(bytes, at)).toBe(view.getInt16(at + 51))
      expect(header.baseSequenceOf(bytes, at)).toBe(view.getInt32(at + 53))
      expect(header.recordCountOf(bytes, at)).toBe(view.getInt32(at + 57))
    }
  })

  it('tell compression and control batches from their bits', () => {
    const batch = batchAt(0)
    expect([header.compressionOf(batch), header.isControlBatch(batch)]).toEqual([0, false])
    batch[22] = 0x24
    expect([header.compressionOf(batch), header.isControlBatch(batch)]).toEqual([4, true])
  })
})

describe('stampBatch', () => {
  it('changes offset and epoch and nothing that the CRC covers', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.nat(2 ** 31 - 1), (offset, epoch) => {
        const batch = batchAt(0, 2)
        const before = batch.slice()
        const stamped = Math.abs(offset)
        header.stampBatch(batch, stamped, epoch)
        expect([header.baseOffsetOf(batch), header.leaderEpochOf(batch)]).toEqual([stamped, epoch])
        expect(batch.subarray(16)).toEqual(before.subarray(16))
        expect(header.batchSizeOf(batch)).toBe(batch.length)
      }),
    )
  })
})

describe('several batches back to back', () => {
  const batches = [batchAt(100, 3), batchAt(103, 1), batchAt(104, 6)]
  const bytes = run(...batches)

  it('are found one after the other', () => {
    const starts = [...header.batchStarts(bytes)]
    expect(starts).toEqual([0, batches[0].length, batches[0].length + batches[1].length])
    expect(starts.map((at) => header.baseOffsetOf(bytes, at))).toEqual([100, 103, 104])
    expect(header.batchEndOf(bytes, starts[2])).toBe(bytes.length)
  })

  it('end where the last one ends', () => {
    expect(header.endOffsetOf(bytes)).toBe(110)
    expect(header.endOffsetOf(new Uint8Array(0))).toBeUndefined()
  })

  it.each([
    [0, 10],
    [100, 10],
    [101, 9],
    [103, 7],
    [107, 3],
    [109, 1],
    [110, 0],
    [500, 0],
  ])('hold from offset %i on %i records', (fromOffset, records) => {
    expect(header.recordsFrom(bytes, fromOffset)).toBe(records)
  })

  it.each<readonly [string, Uint8Array]>([
    ['cut off within the last batch', bytes.subarray(0, bytes.length - 1)],
    ['cut off within a header', bytes.subarray(0, batches[0].length + 60)],
    [
      'of a length that stands still',
      run(
        batches[0],
        Uint8Array.from(batches[1], (b, i) => (i > 7 && i < 12 ? 0xff : b)),
      ),
    ],
    ['of a length below a header', run(Uint8Array.from(batches[1], (b, i) => (i === 11 ? 48 : b)))],
    ['of something else', new Uint8Array(200)],
  ])('are refused when they are %s', (_, broken) => {
    for (const read of [
      () => [...header.batchStarts(broken)],
      () => header.endOffsetOf(broken),
      () => header.recordsFrom(broken, 0),
    ]) {
      expect(read).toThrow(expect.objectContaining({ code: 'RTK_BATCH_MALFORMED' }))
    }
  })
})

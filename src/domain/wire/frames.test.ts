import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { durabilityLevels } from '../durability.ts'
import { isRatatoskrError } from '../errors.ts'
import {
  decodeFrame,
  encodeCredit,
  encodeDeliverHeader,
  encodeFetchedHeader,
  encodeLeasedHeader,
  encodeProduce,
  encodeProduced,
  frameHeaderBytes,
  frameKinds,
  requestIdMax,
} from './frames.ts'

const id = fc.integer({ min: 0, max: requestIdMax })
const partition = fc.integer({ min: 0, max: 0x7fff_ffff })
const offset = fc.maxSafeNat()
const batch = fc.uint8Array({ maxLength: 100 })
const level = fc.constantFrom(...durabilityLevels)

const joined = (head: Uint8Array, body: Uint8Array): Uint8Array => {
  const frame = new Uint8Array(head.length + body.length)
  frame.set(head)
  frame.set(body, head.length)
  return frame
}

/** The frame in the middle of other bytes, as a socket's buffer holds it: reading past it would show. */
const within = (frame: Uint8Array): Uint8Array => {
  const outer = new Uint8Array(frame.length + 64).fill(0xaa)
  outer.set(frame, 32)
  return outer.subarray(32, 32 + frame.length)
}

const produced = encodeProduced(1, { partition: 0, baseOffset: 5, recordCount: 1, durability: 'os' })

describe('frames', () => {
  it('have no number for a durability that does not exist', () => {
    for (const wrong of ['fsyncc', 5, null] as unknown as readonly 'fsync'[]) {
      expect(() => encodeProduce(1, 'orders', 0, wrong, new Uint8Array())).toThrow(
        /durability must be one of/,
      )
    }
  })

  it('come back as they were: produce', () => {
    const topic = fc
      .string({ maxLength: 60 })
      .filter((text) => text.isWellFormed() && !text.startsWith('\ufeff'))
    const durability = fc.option(level, { nil: undefined })
    fc.assert(
      fc.property(id, topic, partition, durability, batch, fc.boolean(), (i, t, p, d, b, leased) => {
        const proof = leased ? { topic: 'ä', group: 'g', partition: p, offset: 5, lease: 2 ** 33 } : undefined
        const lease = proof && JSON.stringify(proof)
        const frame = decodeFrame(within(encodeProduce(i, t, p, d, b, proof)))
        expect(frame).toEqual({
          kind: 'produce',
          id: i,
          topic: t,
          partition: p,
          durability: d,
          lease,
          batch: b,
        })
      }),
    )
  })

  it('come back as they were: produced, deliver, fetched, credit', () => {
    fc.assert(
      fc.property(id, partition, offset, offset, level, batch, (i, p, first, second, durability, bytes) => {
        const recordCount = second % 0xffff_ffff
        const receipt = { partition: p, baseOffset: first, recordCount, durability }
        const duplicates = [
          { index: 0, partition: p, offset: second },
          { index: recordCount, partition: 0, offset: first },
        ]
        for (const produced of [receipt, { ...receipt, duplicate: true }, { ...receipt, duplicates }]) {
          expect(decodeFrame(within(encodeProduced(i, produced)))).toEqual({
            kind: 'produced',
            id: i,
            ...produced,
          })
        }
        const delivery = { id: i, partition: p, fromOffset: first, nextOffset: second, bytes }
        expect(decodeFrame(within(joined(encodeDeliverHeader(i, p, first, second), bytes)))).toEqual({
          kind: 'deliver',
          ...delivery,
        })
        const fetched = { ...delivery, startOffset: second, stableOffset: first }
        expect(decodeFrame(within(joined(encodeFetchedHeader(i, fetched), bytes)))).toEqual({
          kind: 'fetched',
          ...fetched,
        })
        const credit = decodeFrame(within(encodeCredit(i, first, second)))
        expect(credit).toEqual({ kind: 'credit', id: i, bytes: first, messages: second })
      }),
    )
  })

  it('come back as they were: leased', () => {
    const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })
    fc.assert(
      fc.property(
        id,
        fc.record({
          partition,
          recordCount: uint32,
          firstOffset: offset,
          lastOffset: offset,
          lease: offset,
          attempt: uint32,
          redelivered: fc.boolean(),
          leaseMs: uint32,
        }),
        batch,
        (i, leased, bytes) => {
          const frame = decodeFrame(within(joined(encodeLeasedHeader(i, leased), bytes)))
          expect(frame).toEqual({ kind: 'leased', id: i, ...leased, bytes })
        },
      ),
    )
  })

  it('tell whole milliseconds of a lease, as many as they hold', () => {
    const leased = {
      partition: 0,
      recordCount: 1,
      firstOffset: 0,
      lastOffset: 0,
      lease: 1,
      attempt: 1,
      redelivered: false,
    }
    expect(decodeFrame(encodeLeasedHeader(1, { ...leased, leaseMs: 1.9 }))).toMatchObject({ leaseMs: 1 })
    expect(decodeFrame(encodeLeasedHeader(1, { ...leased, leaseMs: 2 ** 40 }))).toMatchObject({
      leaseMs: 2 ** 32 - 1,
    })
  })

  it('are as drawn', () => {
    const frame = encodeProduce(7, 'ab', 3, 'fsync', Uint8Array.of(0xbb))
    expect(Buffer.from(frame).toString('hex')).toBe(
      `${'01000300'}${'00000007'}${'00000003'}${'00000002'}${'00'.repeat(16)}${'6162'}${'bb'}`,
    )
    expect(Buffer.from(encodeDeliverHeader(1, 2, 3, 2 ** 40)).toString('hex')).toBe(
      `${'0300ff00'}${'00000001'}${'00000002'}${'00000000'}${'0000000000000003'}${'0000010000000000'}`,
    )
  })

  it('give their batch without a copy', () => {
    const bytes = encodeProduce(1, 'orders', 0, undefined, new Uint8Array(10))
    const frame = decodeFrame(bytes)
    expect(frame.kind === 'produce' && frame.batch.buffer).toBe(bytes.buffer)
  })

  it('any bytes give a frame within them or RTK_FRAME_MALFORMED', () => {
    const anyFrame = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc
        .tuple(fc.integer({ min: 0, max: 7 }), fc.uint8Array({ minLength: frameHeaderBytes, maxLength: 80 }))
        .map(([kind, bytes]) => {
          bytes[0] = kind
          bytes[1] = bytes[3] = bytes[8] = 0
          if (bytes[4] % 2 === 0) bytes.fill(0, 12, 18)
          return bytes
        }),
    )
    fc.assert(
      fc.property(anyFrame, (bytes) => {
        try {
          const frame = decodeFrame(within(bytes))
          const body = 'bytes' in frame && typeof frame.bytes !== 'number' ? frame.bytes : undefined
          const view = frame.kind === 'produce' ? frame.batch : body
          if (view !== undefined) expect(view.byteOffset + view.length).toBe(32 + bytes.length)
        } catch (error) {
          expect(isRatatoskrError(error, 'RTK_FRAME_MALFORMED')).toBe(true)
        }
      }),
      { numRuns: 5_000 },
    )
  })

  it.each<[string, (frame: Uint8Array) => Uint8Array]>([
    ['an unknown kind', (frame) => frame.fill(99, 0, 1)],
    ['unknown flags', (frame) => frame.fill(1, 1, 2)],
    ['a negative partition', (frame) => frame.fill(0xff, 8, 12)],
    ['an offset above 2^53', (frame) => frame.fill(0x7f, 16, 24)],
    ['a negative offset', (frame) => frame.fill(0xff, 16, 24)],
    ['no durability', (frame) => frame.fill(9, 2, 3)],
    ['bytes after its end', (frame) => joined(frame, Uint8Array.of(0))],
    ['a header cut short', (frame) => frame.subarray(0, 31)],
  ])('refuses %s', (_, change) => {
    expect(() => decodeFrame(change(produced))).toThrow('malformed')
  })

  it('refuses a produce whose name runs out of the frame, a fetched without offsets, and a leased without its lease', () => {
    const produce = encodeProduce(1, 'orders', 0, undefined, new Uint8Array(0))
    produce[15] = 200
    expect(() => decodeFrame(produce)).toThrow('longer than the frame')
    const fetched = new Uint8Array(frameHeaderBytes)
    fetched[0] = frameKinds.fetched
    expect(() => decodeFrame(fetched)).toThrow('offsets')
    const leased = new Uint8Array(frameHeaderBytes + 15)
    leased[0] = frameKinds.leased
    expect(() => decodeFrame(leased)).toThrow('lease')
  })
})

/** Messages of a stream come out as they went in, however they were cut on the way. */
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { FrameReader, frameOf, framePrefixBytes, frameWithBody, messageOf } from './message-frames.ts'

const MIB = 1024 * 1024
const message = fc
  .oneof(fc.nat(40), fc.nat(20_000))
  .chain((length) => fc.nat(250).map((seed) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff)))

const wireOf = (messages: readonly Uint8Array[]): Buffer => Buffer.concat(messages.flatMap(frameOf))
const plain = (messages: readonly Uint8Array[]): number[][] => messages.map((bytes) => [...bytes])

/** Bytes in pieces of these lengths, in turn. */
function* pieces(bytes: Uint8Array, lengths: readonly number[]): Generator<Uint8Array> {
  let at = 0
  for (let turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length]
    yield bytes.subarray(at, at + length)
    at += length
  }
}

describe('a frame', () => {
  it('of a head and a body is one message, and a large body is not copied', () => {
    for (const length of [0, 1, 2_048, 2_049, 100_000]) {
      const head = Buffer.concat([Buffer.alloc(framePrefixBytes), Buffer.from('head')])
      const body = new Uint8Array(length).fill(7)
      const frame = frameWithBody(head, body)
      expect(messageOf(frame)).toEqual(Buffer.concat([Buffer.from('head'), body]))
      expect(frame.includes(body)).toBe(length > 2_048)
      const taken: Uint8Array[] = []
      new FrameReader(MIB, (bytes) => taken.push(bytes)).push(Buffer.concat(frame))
      expect(plain(taken)).toEqual(plain([messageOf(frame)]))
    }
  })
})

describe('the reader', () => {
  it('gives every message, whole and in order, with pauses and without', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 5 })
    const pauses = fc.array(fc.constantFrom('before', 'between', 'resume', undefined), { minLength: 1 })
    fc.assert(
      fc.property(fc.array(message), lengths, fc.nat(5), pauses, (messages, cuts, everyPaused, acts) => {
        const taken: Uint8Array[] = []
        const reader = new FrameReader(20_000, (bytes) => {
          expect(reader.isPaused).toBe(false)
          taken.push(bytes)
          if (everyPaused > 0 && taken.length % everyPaused === 0) reader.pause()
        })
        let turn = 0
        for (const piece of pieces(wireOf(messages), cuts)) {
          const act = acts[turn++ % acts.length]
          if (act === 'before') reader.pause()
          if (turn % 3 === 0) reader.push(piece)
          else {
            for (let at = 0; at < piece.length; ) {
              const room = reader.buffer()
              expect(room.length).toBeGreaterThan(0)
              const bytes = Math.min(room.length, piece.length - at)
              room.set(piece.subarray(at, at + bytes))
              if (act === 'between') reader.pause()
              reader.filled(bytes)
              at += bytes
            }
          }
          if (act === 'resume') reader.resume()
        }
        while (reader.isPaused) reader.resume()
        expect(taken.length).toBe(messages.length)
        for (const [place, bytes] of taken.entries()) expect(Buffer.compare(bytes, messages[place])).toBe(0)
        expect(reader.isAtEnd).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  it('tells when a message is cut short', () => {
    const wire = wireOf([new Uint8Array(10)])
    for (const length of [1, framePrefixBytes, wire.length - 1]) {
      const reader = new FrameReader(100, () => expect.unreachable())
      reader.push(wire.subarray(0, length))
      expect(reader.isAtEnd).toBe(false)
    }
  })

  it('goes on when it is paused and resumed from within', () => {
    let count = 0
    const reader = new FrameReader(100, () => {
      count++
      reader.pause()
      reader.resume()
    })
    reader.push(wireOf(Array.from({ length: 1_000 }, () => new Uint8Array(1))))
    expect(count).toBe(1_000)
  })

  it('gives a message that came in pieces in a buffer of its own size', () => {
    for (const length of [100, MIB - 1, MIB, MIB + 1, 3 * MIB + 5]) {
      const sent = Buffer.alloc(length, 'abc')
      const taken: Uint8Array[] = []
      const reader = new FrameReader(4 * MIB, (bytes) => taken.push(bytes))
      for (const piece of pieces(wireOf([sent]), [16_384, 77])) reader.push(piece)
      expect(taken).toHaveLength(1)
      expect(sent.equals(taken[0])).toBe(true)
      if (length > 4_096) expect(taken[0].buffer.byteLength).toBe(length)
    }
  })

  it('makes no room for what is only announced', () => {
    const allocated = vi.spyOn(Buffer, 'allocUnsafeSlow')
    try {
      const reader = new FrameReader(64 * MIB, () => expect.unreachable())
      reader.push(wireOf([Buffer.alloc(64 * MIB)]).subarray(0, 16_384))
      expect(Math.max(...allocated.mock.calls.map(([size]) => size))).toBe(MIB)
    } finally {
      allocated.mockRestore()
    }
  })

  it('has room for what comes after it has thrown, or was closed, and drops it', () => {
    for (const end of ['throws', 'closes'] as const) {
      let count = 0
      const reader = new FrameReader(10_000, () => {
        if (++count === 3 && end === 'closes') reader.close()
      })
      const fill = (wire: Uint8Array): void => {
        for (let at = 0; at < wire.length; ) {
          const room = reader.buffer()
          expect(room.length).toBeGreaterThan(0)
          const bytes = Math.min(room.length, wire.length - at)
          room.set(wire.subarray(at, at + bytes))
          at += bytes
          reader.filled(bytes)
        }
      }
      fill(wireOf([Buffer.alloc(7), Buffer.alloc(9_000)]))
      const bad = end === 'throws' ? Buffer.alloc(20_000, 0xff) : new Uint8Array(20_000)
      if (end === 'throws') expect(() => fill(bad)).toThrow('neither 0 nor 1')
      else fill(bad)
      reader.resume()
      fill(Buffer.alloc(50_000))
      reader.push(wireOf([Buffer.alloc(7)]))
      expect(count).toBe(end === 'throws' ? 2 : 3)
    }
  })

  it('refuses a message above the limit by its length alone, and one that is compressed', () => {
    const refused = (wire: Uint8Array): unknown => {
      try {
        new FrameReader(10, () => undefined).push(wire)
      } catch (error) {
        return error
      }
    }
    expect(refused(new Uint8Array([0, 0, 0, 0, 11]))).toMatchObject({ isTooLarge: true })
    expect(refused(new Uint8Array([0, 0xff, 0xff, 0xff, 0xff]))).toMatchObject({ isTooLarge: true })
    expect(refused(new Uint8Array([1, 0, 0, 0, 1, 0]))).toMatchObject({ isTooLarge: false })
    expect(refused(new Uint8Array([7, 0, 0, 0, 1, 0]))).toMatchObject({ isTooLarge: false })
    expect(refused(new Uint8Array([0, 0, 0, 0, 10]))).toBeUndefined()
  })

  it('keeps single bytes that come while it is paused in few pieces, and tells how many', () => {
    const taken: Buffer[] = []
    const reader = new FrameReader(100_000, (message) => taken.push(Buffer.from(message)))
    const messages = [Buffer.alloc(3, 1), Buffer.alloc(20_000, 2), Buffer.alloc(5_000, 3)]
    const rooms = new Set<ArrayBufferLike>()
    const fill = (wire: Uint8Array): void => {
      for (const byte of wire) {
        const room = reader.buffer()
        rooms.add(room.buffer)
        room[0] = byte
        reader.filled(1)
      }
    }
    for (let round = 1; round <= 3; round++) {
      reader.pause()
      const wire = wireOf(messages)
      fill(wire.subarray(0, 20_000))
      reader.resume()
      reader.pause()
      fill(wire.subarray(20_000))
      expect(reader.bytesKept).toBeGreaterThan(wire.length - 100)
      reader.resume()
      expect(taken).toHaveLength(3 * round)
      expect(reader.bytesKept).toBe(0)
    }
    expect(taken).toEqual([...messages, ...messages, ...messages])
    expect(rooms.size).toBeLessThan(25)
  })
})

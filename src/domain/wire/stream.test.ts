import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isRatatoskrError } from '../errors.ts'
import { encodeOpening, type StreamOpening, StreamReader, streamProtocolVersion } from './stream.ts'

const MIB = 1024 * 1024

function reading(frameBytesMax = 64 * MIB) {
  const openings: StreamOpening[] = []
  const frames: Uint8Array[] = []
  const reader = new StreamReader(frameBytesMax, {
    opening: (opening) => openings.push(opening),
    frame: (frame) => frames.push(frame),
  })
  return { reader, openings, frames }
}

function prefixed(...frames: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(
    frames.flatMap((frame) => {
      const prefix = Buffer.alloc(4)
      prefix.writeUInt32BE(frame.length)
      return [prefix, frame]
    }),
  )
}

/** The stream in pieces that end at these places. */
const cut = (stream: Uint8Array, places: readonly number[]): Uint8Array[] => {
  const ends = [...new Set(places.map((place) => place % (stream.length + 1)))].sort((a, b) => a - b)
  return [...ends, stream.length].map((end, i) => stream.subarray(ends[i - 1] ?? 0, end))
}

const codeOf = (call: () => void): string | undefined => {
  try {
    call()
  } catch (error) {
    return isRatatoskrError(error) ? error.code : String(error)
  }
  return undefined
}

describe('a stream of frames', () => {
  it('comes out as it went in, wherever it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 12 }),
        fc.array(fc.nat(1_000), { maxLength: 30 }),
        (sent, places) => {
          const { reader, openings, frames } = reading()
          const stream = Buffer.concat([encodeOpening(5_000), prefixed(...sent)])
          for (const chunk of cut(stream, places)) reader.push(chunk)
          expect(openings).toEqual([{ version: streamProtocolVersion, frameBytesMax: 5_000 }])
          expect(frames.map((frame) => [...frame])).toEqual(sent.map((frame) => [...frame]))
        },
      ),
    )
  })

  it('comes out as it went in, read into what the reader gives', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat(70), fc.integer({ min: 30_000, max: 200_000 })), { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 12 }),
        (sizes, reads) => {
          const { reader, frames } = reading()
          const sent = sizes.map((size, mark) => new Uint8Array(size).fill(mark + 1))
          const stream = Buffer.concat([encodeOpening(1), prefixed(...sent)])
          for (let at = 0, turn = 0; at < stream.length; turn++) {
            const room = reader.buffer()
            const part = stream.subarray(at, at + Math.min(room.length, reads[turn % reads.length]))
            room.set(part)
            reader.filled(part.length)
            at += part.length
          }
          expect(frames.map((frame) => frame.length)).toEqual(sizes)
          for (const [i, frame] of frames.entries()) expect(frame.every((byte) => byte === i + 1)).toBe(true)
        },
      ),
    )
  })

  it('is read straight into a large frame, and in small pieces only where one may begin', () => {
    const { reader, frames } = reading()
    const read = (bytes: Uint8Array) => {
      const room = reader.buffer()
      expect(room.length).toBeGreaterThanOrEqual(bytes.length)
      room.set(bytes)
      reader.filled(bytes.length)
      return room
    }
    read(encodeOpening(1))
    expect(reader.buffer().length).toBe(64 * 1024)
    read(prefixed(new Uint8Array(100_000)).subarray(0, 1_000))
    expect(reader.buffer().length).toBe(100_000 - 996)
    const room = read(new Uint8Array(100_000 - 996))
    expect(frames[0].buffer).toBe(room.buffer)
    expect(reader.buffer().length).toBe(4 * 1024)
    const small = read(prefixed(new Uint8Array(10).fill(1)))
    expect(reader.buffer().length).toBe(64 * 1024)
    read(prefixed(new Uint8Array(10).fill(2), new Uint8Array(3_000).fill(3)))
    small.fill(9)
    expect(frames.slice(1).map((frame) => [frame.length, ...new Set(frame)])).toEqual([
      [10, 1],
      [10, 2],
      [3_000, 3],
    ])
    expect(frames[1].buffer, 'small ones share an array').toBe(frames[2].buffer)
    expect(frames[3].buffer.byteLength).toBe(3_000)
  })

  it('may be pushed to or read into, as it comes', () => {
    const { reader, frames } = reading()
    const stream = Buffer.concat([encodeOpening(1), prefixed(new Uint8Array(3 * MIB).fill(5))])
    reader.push(stream.subarray(0, 100))
    for (let at = 100; at < stream.length; ) {
      const room = reader.buffer()
      const part = stream.subarray(at, at + Math.min(room.length, 50_000))
      room.set(part)
      reader.filled(part.length)
      at += part.length
    }
    expect(frames[0].length).toBe(3 * MIB)
    expect(frames[0].every((byte) => byte === 5)).toBe(true)
  })

  it('is not copied where a frame lies whole in a chunk, and shares nothing with chunks where it straddles them', () => {
    const { reader, frames } = reading()
    reader.push(encodeOpening(1))
    const chunk = Uint8Array.from(prefixed(new Uint8Array(10), new Uint8Array(20).fill(7)))
    reader.push(chunk.subarray(0, 20))
    reader.push(chunk.subarray(20))
    expect(frames.map((frame) => frame.buffer === chunk.buffer)).toEqual([true, false])
    expect(frames[1]).toEqual(new Uint8Array(20).fill(7))
  })

  it('carries a frame far larger than what is trusted, in an array of its exact size', () => {
    const { reader, frames } = reading()
    reader.push(encodeOpening(1))
    const frame = Uint8Array.from({ length: 5 * MIB + 3 }, (_, i) => (i * 31) & 0xff)
    const stream = prefixed(frame)
    for (let at = 0; at < stream.length; at += 65_536) reader.push(stream.subarray(at, at + 65_536))
    expect(frames).toHaveLength(1)
    expect(frames[0].buffer.byteLength).toBe(frame.length)
    expect(Buffer.compare(frames[0], frame)).toBe(0)
  })

  it('ends where its reader is closed', () => {
    const marks: number[] = []
    const closing = new StreamReader(100, {
      opening: () => {},
      frame: ([mark]) => {
        marks.push(mark)
        closing.close()
      },
    })
    closing.push(Buffer.concat([encodeOpening(1), prefixed(Uint8Array.of(1), Uint8Array.of(2))]))
    closing.push(prefixed(Uint8Array.of(3)))
    expect(marks).toEqual([1])
  })
})

describe('a stream that is none of ours', () => {
  it.each([
    ['HTTP', 'GET / HTTP/1.1\r\n\r\n'],
    ['TLS', '\u0016\u0003\u0001'],
    ['almost ours', 'RTSX'],
    ['one byte', '?'],
  ])('is refused by its first bytes: %s', (_, text) => {
    const { reader, openings } = reading()
    expect(codeOf(() => reader.push(Buffer.from(text, 'latin1')))).toBe('RTK_FRAME_MALFORMED')
    expect(Buffer.from(reader.beginning).toString('latin1')).toBe(text.slice(0, 12))
    expect(openings).toEqual([])
  })

  it('is waited for as long as it may become ours', () => {
    const { reader, openings } = reading()
    for (const byte of encodeOpening(9)) {
      expect(openings).toEqual([])
      reader.push(Uint8Array.of(byte))
    }
    expect(openings).toHaveLength(1)
  })

  it('may not announce a frame above the limit, which takes no room', () => {
    const { reader, frames } = reading(100)
    reader.push(encodeOpening(1))
    reader.push(prefixed(new Uint8Array(100)))
    expect(frames).toHaveLength(1)
    expect(codeOf(() => reader.push(Uint8Array.of(0, 0, 0, 101)))).toBe('RTK_FRAME_MALFORMED')
    expect(codeOf(() => reading(100).reader.push(Buffer.from('RTSK')))).toBeUndefined()
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FrameReader } from './frame-reader.ts'

/** Frames with their lengths before them. */
function framed(frames: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.alloc(frames.reduce((sum, frame) => sum + 4 + frame.length, 0))
  let at = 0
  for (const frame of frames) {
    at = bytes.writeUInt32BE(frame.length, at)
    bytes.set(frame, at)
    at += frame.length
  }
  return bytes
}

/** A stream of these bytes, cut at these places. */
function cut(bytes: Uint8Array, places: readonly number[]): ReadableStream<Uint8Array> {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b)
  let from = 0
  const chunks = ends.map((end) => bytes.subarray(from, (from = end)))
  return ReadableStream.from(chunks)
}

async function all(reader: FrameReader): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = []
  for (let frame = await reader.next(); frame !== undefined; frame = await reader.next()) frames.push(frame)
  return frames
}

const frames = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 })
const places = fc.array(fc.nat(1_000), { maxLength: 20 })

describe('FrameReader', () => {
  it('gives the same frames however the stream is cut, without the empty ones', async () => {
    await fc.assert(
      fc.asyncProperty(frames, places, async (sent, at) => {
        const got = await all(new FrameReader(cut(framed(sent), at), 40))
        expect(got.map((frame) => [...frame])).toEqual(
          sent.filter(({ length }) => length > 0).map((frame) => [...frame]),
        )
      }),
    )
  })

  it('gives nothing of a frame that was torn', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 5 }),
        fc.nat(23),
        places,
        async (sent, lost, at) => {
          const whole = framed(sent)
          const last = sent[sent.length - 1].length + 4
          const bytes = whole.subarray(0, whole.length - 1 - (lost % last))
          const got = await all(new FrameReader(cut(bytes, at), 40))
          expect(got).toHaveLength(sent.length - 1)
        },
      ),
    )
  })

  it('refuses a frame above the limit before it has come, and takes one of the limit', async () => {
    const reader = new FrameReader(cut(framed([new Uint8Array(10)]), []), 10)
    expect(await reader.next()).toHaveLength(10)
    const head = new FrameReader(cut(Uint8Array.of(0xff, 0xff, 0xff, 0xff), []), 10)
    await expect(head.next()).rejects.toMatchObject({ code: 'RTK_FRAME_MALFORMED' })
  })

  it('gives views of what came together, not copies', async () => {
    const bytes = framed([Uint8Array.of(1, 2), Uint8Array.of(3)])
    const got = await all(new FrameReader(cut(bytes, []), 10))
    expect(got.map(({ buffer }) => buffer === bytes.buffer)).toEqual([true, true])
  })

  it('passes on what breaks the stream', async () => {
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.error(new Error('gone')),
    })
    await expect(new FrameReader(stream, 10).next()).rejects.toThrow('gone')
  })
})

import { expect, it } from 'vitest'
import { FrameReader } from './frames.ts'

const framed = (...frames: readonly (readonly number[])[]): Buffer =>
  Buffer.from(frames.flatMap((frame) => [0, 0, 0, frame.length, ...frame]))

it.each([1, 2, 3, 5, 100])(
  'frames are whole again, whatever pieces of %d bytes they come in',
  (pieceBytes) => {
    const frames = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    const taken: number[][] = []
    const reader = new FrameReader((frame) => taken.push([...frame]))
    const bytes = framed(...frames)
    for (let at = 0; at < bytes.length; at += pieceBytes) reader.feed(bytes.subarray(at, at + pieceBytes))
    expect(taken).toEqual(frames)
  },
)

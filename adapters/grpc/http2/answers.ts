/** The frames of an answer's headers. */
import type { OutgoingHttpHeaders } from 'node:http2'
import { flag, frameType, headBytes, writeHead } from './frames.ts'
import { headerBlock } from './header-block.ts'

const blocks = new WeakMap<object, Uint8Array>()

/**
 * The frames of these headers, in one piece.
 * @param ends whether nothing comes behind them
 * @param frameBytesMax what the client takes
 */
export function headerFrames(
  streamId: number,
  headers: OutgoingHttpHeaders,
  ends: boolean,
  frameBytesMax: number,
): Uint8Array {
  const block = blockOf(headers)
  const count = Math.max(1, Math.ceil(block.length / frameBytesMax))
  const frames = Buffer.allocUnsafe(block.length + count * headBytes)
  for (let place = 0; place < count; place++) {
    const part = count === 1 ? block : block.subarray(place * frameBytesMax, (place + 1) * frameBytesMax)
    const flags = (place === 0 && ends ? flag.END_STREAM : 0) | (place === count - 1 ? flag.END_HEADERS : 0)
    const at = place * (headBytes + frameBytesMax)
    writeHead(
      frames,
      at,
      part.length,
      place === 0 ? frameType.HEADERS : frameType.CONTINUATION,
      flags,
      streamId,
    )
    frames.set(part, at + headBytes)
  }
  return frames
}

/** The block of these headers, kept for those that never change. */
function blockOf(headers: OutgoingHttpHeaders): Uint8Array {
  const known = blocks.get(headers)
  if (known !== undefined) return known
  const block = headerBlock(headers)
  if (Object.isFrozen(headers)) blocks.set(headers, block)
  return block
}

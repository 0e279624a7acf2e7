/**
 * Losses that the owner of a log has accepted: the place of the damaged bytes holds a text that says so, over and over, so
 * that a check of the directory tells an old loss from a new one. To everyone else it is a gap like any other.
 */
import type { DiskFile } from 'ratatoskr/ports'
import { allocate } from '../files/file-system.ts'

const mark = new TextEncoder().encode('ratatoskr: lost, and accepted as lost by log repair\n')
const blockBytes = mark.length * 1024

/** The text, so many bytes of it. */
export function lossMark(sizeBytes: number): Uint8Array {
  const bytes = allocate(sizeBytes)
  for (let at = 0; at < sizeBytes; at += mark.length) bytes.set(mark.subarray(0, sizeBytes - at), at)
  return bytes
}

/** Size of a file that stands for a segment which is lost as a whole. */
export const lostSegmentBytes = mark.length * 2

interface Extent {
  readonly position: number
  readonly endPosition: number
}

/** The text for a gap, in blocks with their positions. */
export function* lossBlocks(gap: Extent) {
  for (let position = gap.position; position < gap.endPosition; position += blockBytes) {
    yield { position, bytes: lossMark(Math.min(blockBytes, gap.endPosition - position)) }
  }
}

/** The first and the last of the blocks of a gap. */
function* endBlocks({ position, endPosition }: Extent, count: number) {
  yield* lossBlocks({ position, endPosition: position + blockBytes })
  yield* lossBlocks({ position: position + (count - 1) * blockBytes, endPosition })
}

/**
 * True when a gap holds that text and nothing else.
 * @param looked how much of it is looked at: all of it, or, where a start must not wait for it, both ends
 */
export async function isDeclaredLost(
  file: DiskFile,
  gap: Extent,
  looked: 'whole' | 'ends' = 'whole',
): Promise<boolean> {
  const count = Math.ceil((gap.endPosition - gap.position) / blockBytes)
  if (count <= 0) return false
  const blocks = looked === 'ends' && count > 2 ? endBlocks(gap, count) : lossBlocks(gap)
  for (const { position, bytes } of blocks) {
    const found = allocate(bytes.length)
    if ((await file.read(found, position)) !== found.length) return false
    if (!bytes.every((byte, i) => byte === found[i])) return false
  }
  return true
}

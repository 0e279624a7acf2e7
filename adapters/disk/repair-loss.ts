/**
 * Losses that the owner of a log has accepted: the place of the damaged bytes holds a text that says so, over and over, so
 * that a check of the directory tells an old loss from a new one. To everyone else it is a gap like any other.
 */
import type { DiskFile } from 'ratatoskr/ports'
import { allocate } from './file-system.ts'

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

/** The text for a gap, in blocks with their positions. */
export function* lossBlocks(gap: { readonly position: number; readonly endPosition: number }) {
  for (let position = gap.position; position < gap.endPosition; position += blockBytes) {
    yield { position, bytes: lossMark(Math.min(blockBytes, gap.endPosition - position)) }
  }
}

/** True when a gap holds that text and nothing else. */
export async function isDeclaredLost(
  file: DiskFile,
  gap: { readonly position: number; readonly endPosition: number },
): Promise<boolean> {
  if (gap.endPosition === gap.position) return false
  for (const { position, bytes } of lossBlocks(gap)) {
    const found = allocate(bytes.length)
    if ((await file.read(found, position)) !== found.length) return false
    if (!bytes.every((byte, i) => byte === found[i])) return false
  }
  return true
}

/** What the first headers of a segment say, to tell a damaged segment from a copy of another one. */
import type { DiskFile } from 'ratatoskr/ports'
import { baseOffsetOf, batchHeaderBytes, batchSizeOf, nextOffsetOf } from 'ratatoskr/ports'
import { allocate } from '../files/file-system.ts'

/** The base offset in the header at a position; undefined when the file ends before, or has zeros there. */
export async function offsetAt(file: DiskFile, position: number): Promise<number | undefined> {
  const bytes = await headerAt(file, position)
  return bytes && baseOffsetOf(bytes)
}

async function headerAt(file: DiskFile, position: number): Promise<Uint8Array | undefined> {
  const bytes = allocate(batchHeaderBytes)
  const isThere = (await file.read(bytes, position)) === bytes.length && bytes.some((byte) => byte !== 0)
  return isThere ? bytes : undefined
}

/**
 * The offset with which a file begins, true or not.
 * @param chained only when its second batch goes on from there
 */
export async function beginningOf(file: DiskFile, chained: boolean): Promise<number | undefined> {
  const first = await headerAt(file, 0)
  if (first === undefined || !chained) return first && baseOffsetOf(first)
  const second = batchSizeOf(first) >= batchHeaderBytes ? await offsetAt(file, batchSizeOf(first)) : undefined
  return second === nextOffsetOf(first) ? baseOffsetOf(first) : undefined
}

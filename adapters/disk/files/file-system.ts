/** Small helpers around the file system port. */
import type { DiskFile } from 'ratatoskr/ports'

/** Writes all bytes, in as many calls as it takes: a full disk first shows as a short write without an error. */
export const writeAll = (file: DiskFile, bytes: Uint8Array, position: number): Promise<void> =>
  writePieces(file, [bytes], position)

/** Writes pieces back to back, with one call for all of them where the file has such a call. */
export async function writePieces(
  file: DiskFile,
  pieces: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let left = pieces.filter(({ length }) => length > 0)
  let done = 0
  while (left.length > 0) {
    const at = position + done
    const written =
      left.length === 1 || file.writev === undefined
        ? await file.write(left[0], at)
        : await file.writev(left, at)
    if (written <= 0) throw Object.assign(new Error('the system wrote nothing'), { code: 'EIO' })
    done += written
    left = behind(left, written)
  }
}

/** What of the pieces lies behind their first `count` bytes. */
function behind(pieces: readonly Uint8Array[], count: number): Uint8Array[] {
  let first = 0
  let left = count
  while (first < pieces.length && left >= pieces[first].length) left -= pieces[first++].length
  const rest = pieces.slice(first)
  if (left > 0) rest[0] = rest[0].subarray(left)
  return rest
}

/** The system's code of an error, such as ENOSPC. */
export const systemCodeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

/** True when an error says that there is no room. */
export const isFull = (error: unknown): boolean => ['ENOSPC', 'EDQUOT'].includes(systemCodeOf(error) ?? '')

/**
 * A buffer that is about to be filled, without the cost of zeroing it: a plain Uint8Array, as every store hands out, and not
 * a Buffer, whose `slice` would be no copy.
 */
export function allocate(sizeBytes: number): Uint8Array {
  const { buffer, byteOffset } = Buffer.allocUnsafeSlow(sizeBytes)
  return new Uint8Array(buffer, byteOffset, sizeBytes)
}

/** Small helpers around the file system port. */
import type { DiskFile } from 'ratatoskr/ports'

/** Writes all bytes, in as many calls as it takes: a full disk first shows as a short write without an error. */
export async function writeAll(file: DiskFile, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const written = await file.write(done === 0 ? bytes : bytes.subarray(done), position + done)
    if (written <= 0) throw Object.assign(new Error('the system wrote nothing'), { code: 'EIO' })
    done += written
  }
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

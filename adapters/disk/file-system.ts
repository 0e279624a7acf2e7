/**
 * All that the disk stores ask of a file system: a seam, so that faults can be injected and a disk can be simulated.
 * The real one is node-file-system.ts. Errors are Node's, with `code` such as ENOSPC.
 */

/** An open file. Positions are bytes from its beginning. */
export interface DiskFile {
  /** Reads until `into` is full or the file ends. @returns bytes read */
  read(into: Uint8Array, position: number): Promise<number>
  /** Writes with one call of the system. @returns bytes written, which may be fewer than given */
  write(bytes: Uint8Array, position: number): Promise<number>
  /** Waits until the file's data and size are on the disk (fdatasync). */
  sync(): Promise<void>
  truncate(sizeBytes: number): Promise<void>
  size(): Promise<number>
  close(): Promise<void>
}

/** `create` makes the file, or empties one that is there; `write` needs it to be there, and reads too. */
export type OpenMode = 'read' | 'write' | 'create'

/** What the disk storage asks of a file system. */
export interface FileSystem {
  open(path: string, mode: OpenMode): Promise<DiskFile>
  /** Makes a directory with its parents; it may be there. */
  makeDirectory(path: string): Promise<void>
  /** Names in a directory; none when there is no such directory, or when it is a file. */
  list(path: string): Promise<readonly string[]>
  sizeOf(path: string): Promise<number>
  /** Removes a file; it may be missing. */
  remove(path: string): Promise<void>
  /** Removes a directory with all that is in it; it may be missing. */
  removeTree(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Makes the entries of a directory durable: files that were made, renamed or removed. */
  syncDirectory(path: string): Promise<void>
  /**
   * Makes a directory and claims it for this process.
   * @throws RTK_STORE_LOCKED, naming the process that holds it
   */
  lock(directory: string): Promise<DirectoryLock>
}

/** A hold on a directory that no other process has at the same time. */
export interface DirectoryLock {
  release(): Promise<void>
}

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

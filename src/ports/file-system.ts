/**
 * All that a store which keeps files asks of a file system: a seam, so that faults can be injected and a disk can be
 * simulated. Errors are the system's, with a `code` such as ENOSPC. `simulatedDisk` in `ratatoskr/contract-tests` is one
 * that loses power on command; the disk storage takes any as its option `fileSystem`.
 */

/** An open file. Positions are bytes from its beginning. */
export interface DiskFile {
  /** Reads until `into` is full or the file ends. @returns bytes read */
  read(into: Uint8Array, position: number): Promise<number>
  /** Writes with one call of the system. @returns bytes written, which may be fewer than given */
  write(bytes: Uint8Array, position: number): Promise<number>
  /** Writes pieces back to back with one call of the system, as `write` does. Without it they are written one by one. */
  writev?(pieces: readonly Uint8Array[], position: number): Promise<number>
  /** Waits until the file's data and size are on the disk (fdatasync). */
  sync(): Promise<void>
  truncate(sizeBytes: number): Promise<void>
  size(): Promise<number>
  close(): Promise<void>
}

/** `create` makes the file, or empties one that is there; `write` needs it to be there, and reads too. */
export type OpenMode = 'read' | 'write' | 'create'

/** What a store asks of a file system. */
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

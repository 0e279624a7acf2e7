/**
 * A file system that keeps some descriptors in reserve for the store: a flood of sockets may take the last of the process,
 * and yet a segment must be begun, a directory synced, an index written. When a call fails for want of a descriptor, idle
 * files are closed and then one of the reserve is given up, and the call is made again. What was given up is taken back when
 * descriptors are free again.
 */
import type { DirectoryLock, DiskFile, FileSystem, OpenMode } from 'ratatoskr/ports'
import { systemCodeOf } from './file-system.ts'
import { Gate } from './gate.ts'

/** Descriptors that are kept open for nothing but to be given up. */
const reserveSize = 16

export class ReservedFileSystem implements FileSystem {
  readonly #inner: FileSystem
  /** Each sync of a directory opens it for a moment. */
  readonly #directories: Gate
  readonly #reserve: DiskFile[] = []
  /** Any file that can be opened; undefined while there is no reserve to keep. */
  #path: string | undefined
  #filling: Promise<void> | undefined
  /** Closes what is only kept open for later. */
  onScarce: () => Promise<void> = async () => undefined

  /** @param directoriesMax how many may be open at a time */
  constructor(inner: FileSystem, directoriesMax = 64) {
    this.#inner = inner
    this.#directories = new Gate(directoriesMax)
  }

  get reserved(): number {
    return this.#reserve.length
  }

  /** Takes the reserve, as far as there are descriptors. @param path a file that is there as long as the reserve */
  async reserve(path: string): Promise<void> {
    this.#path = path
    await this.#fill()
  }

  /** Gives the reserve back. */
  async release(): Promise<void> {
    this.#path = undefined
    await this.#filling
    await Promise.all(this.#reserve.splice(0).map((file) => file.close().catch(() => undefined)))
  }

  open(path: string, mode: OpenMode): Promise<DiskFile> {
    return this.#insist(() => this.#inner.open(path, mode))
  }

  list(path: string): Promise<readonly string[]> {
    return this.#insist(() => this.#inner.list(path))
  }

  syncDirectory(path: string): Promise<void> {
    return this.#directories.run(() => this.#insist(() => this.#inner.syncDirectory(path)))
  }

  removeTree(path: string): Promise<void> {
    return this.#insist(() => this.#inner.removeTree(path))
  }

  lock(directory: string): Promise<DirectoryLock> {
    return this.#inner.lock(directory)
  }

  makeDirectory(path: string): Promise<void> {
    return this.#inner.makeDirectory(path)
  }

  sizeOf(path: string): Promise<number> {
    return this.#inner.sizeOf(path)
  }

  remove(path: string): Promise<void> {
    return this.#inner.remove(path)
  }

  rename(from: string, to: string): Promise<void> {
    return this.#inner.rename(from, to)
  }

  async #insist<T>(call: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        const result = await call()
        if (attempt === 0 && this.#reserve.length < reserveSize) void this.#fill()
        return result
      } catch (error) {
        if (!isScarce(error)) throw error
        if (attempt === 0) await this.onScarce()
        else if (!(await this.#giveUpOne())) throw error
      }
    }
  }

  /** @returns false when there is nothing left to give up */
  async #giveUpOne(): Promise<boolean> {
    const file = this.#reserve.pop()
    await file?.close().catch(() => undefined)
    return file !== undefined
  }

  #fill(): Promise<void> {
    this.#filling ??= this.#take().finally(() => {
      this.#filling = undefined
    })
    return this.#filling
  }

  async #take(): Promise<void> {
    while (this.#path !== undefined && this.#reserve.length < reserveSize) {
      try {
        this.#reserve.push(await this.#inner.open(this.#path, 'read'))
      } catch {
        // Somebody else needs them: the next call that finds one free goes on.
        return
      }
    }
  }
}

const isScarce = (error: unknown): boolean => ['EMFILE', 'ENFILE'].includes(systemCodeOf(error) ?? '')

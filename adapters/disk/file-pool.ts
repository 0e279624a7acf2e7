/**
 * Open files, as few as there may be: thousands of logs share some hundred descriptors. A file that nobody uses stays open
 * until its place is needed. One that was written and not synced is synced before it is closed, so that no error of the
 * disk gets lost between two descriptors.
 */
import type { DiskFile, FileSystem } from 'ratatoskr/ports'
import { systemCodeOf } from './file-system.ts'

export class PooledFile {
  readonly key: string
  readonly file: DiskFile
  users = 0
  /** Written since the last sync. */
  dirty = false
  /** Told when the sync before closing failed. */
  onSyncFailed: ((error: unknown) => void) | undefined
  /** Close at the last release, without a sync. */
  discarded = false

  constructor(key: string, file: DiskFile) {
    this.key = key
    this.file = file
  }
}

export class FilePool {
  readonly #fileSystem: FileSystem
  readonly #filesMax: number
  // In order of last use: the first is the first to go.
  readonly #files = new Map<string, PooledFile>()
  readonly #busy = new Map<string, Promise<unknown>>()
  /** Discarded files on their way out. */
  readonly #dropped = new Set<Promise<void>>()
  /** How many may stay open now: none between `closeIdle` and `keepOpen`. */
  #limit: number

  constructor(fileSystem: FileSystem, filesMax: number) {
    this.#fileSystem = fileSystem
    this.#filesMax = filesMax
    this.#limit = filesMax
  }

  get size(): number {
    return this.#files.size
  }

  /** Opens a file, or takes the one that is open. Release it after use. `create` makes it. */
  async acquire(path: string, mode: 'read' | 'write', create = false): Promise<PooledFile> {
    const key = keyOf(path, mode)
    for (;;) {
      const known = this.#files.get(key)
      if (known !== undefined) {
        this.#files.delete(key)
        this.#files.set(key, known)
        known.users++
        return known
      }
      const busy = this.#busy.get(key)
      if (busy === undefined) break
      await busy.catch(() => undefined)
    }
    const opening = this.#open(key, path, create ? 'create' : mode)
    this.#busy.set(key, opening)
    try {
      const pooled = await opening
      pooled.users = 1
      this.#files.set(key, pooled)
      return pooled
    } finally {
      this.#busy.delete(key)
      this.#trim(this.#limit)
    }
  }

  release(pooled: PooledFile): void {
    pooled.users--
    if (pooled.users > 0) return
    if (pooled.discarded) this.#drop(pooled)
    else this.#trim(this.#limit)
  }

  /** Forgets a file: closes it without a sync, at once or at its last release. */
  async discard(path: string): Promise<void> {
    for (const key of [keyOf(path, 'read'), keyOf(path, 'write')]) {
      await this.#busy.get(key)?.catch(() => undefined)
      const pooled = this.#files.get(key)
      if (pooled === undefined) continue
      this.#files.delete(key)
      pooled.discarded = true
      if (pooled.users === 0) await pooled.file.close().catch(() => undefined)
    }
  }

  /** Files stay open after use again. */
  keepOpen(): void {
    this.#limit = this.#filesMax
  }

  /** Closes every file that nobody uses, and from now on each after its last use. */
  async closeIdle(): Promise<void> {
    this.#limit = 0
    this.#trim(0)
    await Promise.allSettled([...this.#busy.values(), ...this.#dropped])
  }

  async #open(key: string, path: string, mode: 'read' | 'write' | 'create'): Promise<PooledFile> {
    try {
      return new PooledFile(key, await this.#fileSystem.open(path, mode))
    } catch (error) {
      // Someone else took the process's last descriptors: give up those that are only kept, and try once more.
      if (!['EMFILE', 'ENFILE'].includes(systemCodeOf(error) ?? '')) throw error
      this.#trim(0)
      await Promise.allSettled([...this.#busy].filter(([other]) => other !== key).map(([, busy]) => busy))
      return new PooledFile(key, await this.#fileSystem.open(path, mode))
    }
  }

  #trim(filesMax: number): void {
    if (this.#files.size <= filesMax) return
    for (const pooled of [...this.#files.values()]) {
      if (this.#files.size <= filesMax) return
      if (pooled.users === 0) this.#close(pooled)
    }
  }

  #close(pooled: PooledFile): void {
    this.#files.delete(pooled.key)
    const closing = this.#syncAndClose(pooled).finally(() => this.#busy.delete(pooled.key))
    this.#busy.set(pooled.key, closing)
  }

  #drop(pooled: PooledFile): void {
    const closing: Promise<void> = pooled.file
      .close()
      .catch(() => undefined)
      .finally(() => this.#dropped.delete(closing))
    this.#dropped.add(closing)
  }

  async #syncAndClose(pooled: PooledFile): Promise<void> {
    try {
      if (pooled.dirty) await pooled.file.sync()
    } catch (error) {
      pooled.onSyncFailed?.(error)
    }
    await pooled.file.close().catch(() => undefined)
  }
}

const keyOf = (path: string, mode: 'read' | 'write'): string => `${mode}:${path}`

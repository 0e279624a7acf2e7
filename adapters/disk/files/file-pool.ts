/**
 * Open files, as few as there may be: thousands of logs share some hundred descriptors. Whoever needs one more waits until
 * another is done. A file that nobody uses stays open until its place is needed. One that was written and not synced is synced before it is closed, so that no error of the
 * disk gets lost between two descriptors.
 */
import type { DiskFile, FileSystem, LogStoreTally } from 'ratatoskr/ports'
import { Gate } from './gate.ts'

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
  readonly #tally: LogStoreTally
  // In order of last use: the first is the first to go.
  readonly #files = new Map<string, PooledFile>()
  readonly #busy = new Map<string, Promise<unknown>>()
  /** Files on their way out, after a sync where one is due. */
  readonly #closing = new Set<Promise<void>>()
  /** Discarded files on their way out. */
  readonly #dropped = new Set<Promise<void>>()
  /** Bounds those in use; a user must not wait for a second file while it holds one. */
  readonly #gate: Gate
  /** How many may stay open now: none between `closeIdle` and `keepOpen`. */
  #limit: number

  constructor(fileSystem: FileSystem, filesMax: number, tally: LogStoreTally) {
    this.#fileSystem = fileSystem
    this.#tally = tally
    this.#filesMax = filesMax
    this.#limit = filesMax
    this.#gate = new Gate(filesMax)
  }

  get size(): number {
    return this.#files.size
  }

  /** Opens a file, or takes the one that is open. Release it after use. `create` makes it. */
  async acquire(path: string, mode: 'read' | 'write', create = false): Promise<PooledFile> {
    await this.#gate.enter()
    try {
      return await this.#take(path, mode, create)
    } catch (error) {
      this.#gate.leave()
      throw error
    }
  }

  async #take(path: string, mode: 'read' | 'write', create: boolean): Promise<PooledFile> {
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
    const opening = this.#fileSystem
      .open(path, create ? 'create' : mode)
      .then((file) => new PooledFile(key, file))
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
    this.#gate.leave()
    pooled.users--
    if (pooled.users > 0) return
    if (pooled.discarded) this.#drop(pooled)
    else this.#trim(this.#limit)
  }

  /** Forgets a file whose sync failed: no other may ever be tried on it. It is closed at its last release. */
  poison(pooled: PooledFile): void {
    if (this.#files.get(pooled.key) === pooled) this.#files.delete(pooled.key)
    pooled.dirty = false
    pooled.discarded = true
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

  /** Closes every file that nobody uses, to have its descriptor for something else. */
  async giveUpIdle(): Promise<void> {
    this.#trim(0)
    await Promise.allSettled([...this.#closing, ...this.#dropped])
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
    const closing: Promise<void> = this.#syncAndClose(pooled).finally(() => {
      this.#busy.delete(pooled.key)
      this.#closing.delete(closing)
    })
    this.#busy.set(pooled.key, closing)
    this.#closing.add(closing)
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
      if (pooled.dirty) {
        await pooled.file.sync()
        this.#tally.syncs++
      }
    } catch (error) {
      pooled.onSyncFailed?.(error)
    }
    await pooled.file.close().catch(() => undefined)
  }
}

const keyOf = (path: string, mode: 'read' | 'write'): string => `${mode}:${path}`

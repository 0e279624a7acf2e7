/** A file system for tests: the machine's own, with faults on demand and with a bound on its bytes. */
import type { DiskFile, FileSystem } from 'ratatoskr/ports'

export type FaultyCall =
  | 'open'
  | 'read'
  | 'write'
  | 'sync'
  | 'truncate'
  | 'syncDirectory'
  | 'remove'
  | 'rename'

export interface Fault {
  readonly call: FaultyCall
  /** Only for files whose path ends so. */
  readonly suffix?: string
  /** The system's code, such as EIO. */
  readonly code: string
  /** How many calls fail; all by default. */
  readonly times?: number
}

/** What a file system was asked for: one line for each call that may fail. */
export interface Call {
  readonly call: FaultyCall
  readonly path: string
  readonly failed: boolean
}

const systemError = (code: string): Error => Object.assign(new Error(`injected ${code}`), { code })

export class FaultyFileSystem implements FileSystem {
  readonly calls: Call[] = []
  readonly #inner: FileSystem
  readonly #bytesMax: number
  readonly #sizes = new Map<string, number>()
  #faults: { fault: Fault; left: number }[] = []
  /** Holds back syncs until it settles. */
  syncGate: Promise<void> | undefined

  constructor(inner: FileSystem, bytesMax = Number.POSITIVE_INFINITY) {
    this.#inner = inner
    this.#bytesMax = bytesMax
  }

  /** From now on calls fail as `fault` says. */
  inject(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times ?? Number.POSITIVE_INFINITY })
  }

  /** Ends all faults. */
  heal(): void {
    this.#faults = []
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    this.check('open', path)
    const file = await this.#inner.open(path, mode)
    if (mode === 'create') this.#sizes.set(path, 0)
    return new FaultyFile(this, file, path)
  }

  makeDirectory(path: string): Promise<void> {
    return this.#inner.makeDirectory(path)
  }

  list(path: string): Promise<readonly string[]> {
    return this.#inner.list(path)
  }

  sizeOf(path: string): Promise<number> {
    return this.#inner.sizeOf(path)
  }

  async remove(path: string): Promise<void> {
    this.check('remove', path)
    await this.#inner.remove(path)
    this.#sizes.delete(path)
  }

  async removeTree(path: string): Promise<void> {
    await this.#inner.removeTree(path)
    for (const file of [...this.#sizes.keys()]) if (file.startsWith(`${path}/`)) this.#sizes.delete(file)
  }

  async rename(from: string, to: string): Promise<void> {
    this.check('rename', from)
    await this.#inner.rename(from, to)
    for (const [file, size] of [...this.#sizes]) {
      if (file !== from && !file.startsWith(`${from}/`)) continue
      this.#sizes.delete(file)
      this.#sizes.set(to + file.slice(from.length), size)
    }
  }

  async syncDirectory(path: string): Promise<void> {
    this.check('syncDirectory', path)
    await this.#inner.syncDirectory(path)
  }

  lock(directory: string): ReturnType<FileSystem['lock']> {
    return this.#inner.lock(directory)
  }

  /** Notes a call, and throws when a fault waits for it. */
  check(call: FaultyCall, path: string): void {
    const hit = this.#faults.find(
      ({ fault, left }) => left > 0 && fault.call === call && path.endsWith(fault.suffix ?? ''),
    )
    this.calls.push({ call, path, failed: hit !== undefined })
    if (hit === undefined) return
    hit.left--
    throw systemError(hit.fault.code)
  }

  /** Bytes of a write that still fit; none left is ENOSPC. */
  admit(path: string, position: number, count: number): number {
    const size = this.#sizes.get(path) ?? 0
    let used = 0
    for (const other of this.#sizes.values()) used += other
    const admitted = Math.min(count, size - position + Math.max(0, this.#bytesMax - used))
    if (admitted <= 0) throw systemError('ENOSPC')
    this.#sizes.set(path, Math.max(size, position + admitted))
    return admitted
  }

  resized(path: string, sizeBytes: number): void {
    this.#sizes.set(path, sizeBytes)
  }
}

class FaultyFile implements DiskFile {
  readonly #owner: FaultyFileSystem
  readonly #inner: DiskFile
  readonly #path: string

  constructor(owner: FaultyFileSystem, inner: DiskFile, path: string) {
    this.#owner = owner
    this.#inner = inner
    this.#path = path
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    this.#owner.check('read', this.#path)
    return this.#inner.read(into, position)
  }

  async write(bytes: Uint8Array, position: number): Promise<number> {
    this.#owner.check('write', this.#path)
    const admitted = this.#owner.admit(this.#path, position, bytes.length)
    return this.#inner.write(bytes.subarray(0, admitted), position)
  }

  /** Of what does not fit, the last piece is written in part. */
  async writev(pieces: readonly Uint8Array[], position: number): Promise<number> {
    return this.write(Buffer.concat(pieces), position)
  }

  async sync(): Promise<void> {
    await this.#owner.syncGate
    this.#owner.check('sync', this.#path)
    await this.#inner.sync()
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#owner.check('truncate', this.#path)
    await this.#inner.truncate(sizeBytes)
    this.#owner.resized(this.#path, sizeBytes)
  }

  size(): Promise<number> {
    return this.#inner.size()
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}

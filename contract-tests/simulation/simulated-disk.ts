/**
 * A disk in memory that loses power on command: a file system for the tests of stores. Everything that it does follows from
 * its seed; it uses no clock, no timer and no I/O, only microtasks, so that a run can be repeated call by call.
 *
 * The model. Writes and truncates change what programs see at once (the page cache) and the medium at `sync`, which makes
 * data and size of the file durable and not its name. Names become durable at `syncDirectory`. A killed process loses
 * nothing that was written. A power cut leaves of what was not synced any part: whole files or nothing, a prefix of the
 * writes with the last one torn, any version of each page or of each sector, the new size without the data (zeros) or the
 * data without the size. Sectors are written whole. Names: see `DiskTree`.
 *
 * A green run proves the model only: real file systems are checked by cutting the power of real ones.
 */
import {
  type DirectoryLock,
  type DiskFile,
  type FileSystem,
  type OpenMode,
  RatatoskrError,
} from 'ratatoskr/ports'
import { type Draw, seededDraw } from '../seeded-draw.ts'
import { Descriptors } from './descriptors.ts'
import { type CallFilter, type DiskCall, type DiskFault, Faults, systemError } from './faults.ts'
import { Holds } from './holds.ts'
import type { Survival } from './nodes.ts'
import { CallRecord, type CallSubject, type TracedCall } from './trace.ts'
import { DiskTree } from './tree.ts'

/** What a simulated disk is like. */
export interface SimulatedDiskOptions {
  /** Everything random follows from it; 1 by default. */
  readonly seed?: number | undefined
  /** Bytes that the medium writes whole; 512 by default. */
  readonly sectorBytes?: number | undefined
  /** Bytes of a page of the cache, a multiple of `sectorBytes`; 4096 by default. */
  readonly pageBytes?: number | undefined
  /** Bytes of files that there is room for; no bound by default. */
  readonly capacityBytes?: number | undefined
  /** Descriptors that may be open at once, EMFILE beyond; no bound by default. */
  readonly descriptorsMax?: number | undefined
  /** A call takes effect after up to this many turns of the microtask queue, so that calls overtake each other; 3 by default. */
  readonly delayTurnsMax?: number | undefined
  /** False keeps no list of calls, for long runs; the hash goes on. True by default. */
  readonly keepTrace?: boolean | undefined
}

/** What happens to what was not synced when the power goes. */
export interface PowerCut {
  /** Another outcome for each; drawn from the disk's own seed by default. */
  readonly seed?: number | undefined
  /**
   * `luck`, the default: drawn for each file and each directory. `nothing`: only what was synced, names and data, is there.
   * `everything`: all of it, as if it had just been synced. Or one of the ways in which files fare, for all files.
   */
  readonly survival?: 'luck' | Survival | undefined
}

/** Makes a disk with nothing on it. */
export const simulatedDisk = (options: SimulatedDiskOptions = {}): SimulatedDisk => new SimulatedDisk(options)

/** See `simulatedDisk`. */
export class SimulatedDisk implements FileSystem {
  /** Room for the bytes of all files; may be changed at any time, to fill the disk and to free it. */
  capacityBytes: number
  /**
   * Called before each call takes effect: the moments at which a crash is different from the one before. The disk is as the
   * calls before have left it; `fork` and `powerCut` may be called, and nothing that changes it.
   */
  onCall: ((call: DiskCall, path: string) => void) | undefined
  readonly #options: SimulatedDiskOptions
  readonly #draw: Draw
  readonly #sectorBytes: number
  readonly #tree: DiskTree
  readonly #faults = new Faults()
  readonly #holds = new Holds()
  readonly #record: CallRecord
  readonly #open: Descriptors
  readonly #locks = new Set<string>()
  #forks = 0

  constructor(options: SimulatedDiskOptions, tree?: DiskTree) {
    const { seed = 1, sectorBytes = 512, pageBytes = 4096 } = options
    if (!(sectorBytes > 0) || pageBytes % sectorBytes !== 0) {
      throw new TypeError('pageBytes must be a multiple of sectorBytes')
    }
    this.#options = options
    this.#draw = seededDraw(seed)
    this.#sectorBytes = sectorBytes
    this.#tree = tree ?? new DiskTree(pageBytes)
    this.#open = new Descriptors(options.descriptorsMax)
    this.#record = new CallRecord(options.keepTrace)
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY
  }

  /** Calls in the order in which they took effect. */
  get trace(): readonly TracedCall[] {
    return this.#record.trace
  }

  /** Follows from every call, its arguments and its result: the same for each run of a seed. */
  get hash(): string {
    return this.#record.hash.text
  }

  /** Bytes of all files as programs see them. */
  get usedBytes(): number {
    const ids = new Set(this.#open.ids())
    for (const path of this.#tree.paths()) ids.add(this.#tree.lookUp(path)?.id as number)
    let sum = 0
    for (const id of ids) sum += this.#tree.bytesOf(id)
    return sum
  }

  /** Descriptors that are open now. */
  get openDescriptors(): number {
    return this.#open.count
  }

  /**
   * The disk as a killed process leaves it: everything written is there, synced or not; descriptors, locks, faults and holds
   * are not. This disk goes on as it is. Costs little, so that many crashes of one moment can be tried.
   */
  fork(): SimulatedDisk {
    return this.#descend(this.#tree.fork(), undefined)
  }

  /** The disk that is there when the power is back; this one goes on as if nothing had happened. Costs little. */
  powerCut({ seed, survival = 'luck' }: PowerCut = {}): SimulatedDisk {
    const draw = seededDraw(seed ?? this.#nextSeed())
    const rules = {
      draw,
      sectorBytes: this.#sectorBytes,
      survival: survival === 'luck' ? undefined : survival,
    }
    return this.#descend(this.#tree.afterPowerCut(rules), seed)
  }

  /** From now on calls go wrong as `fault` says; of several, the first that was given. */
  inject(fault: DiskFault): void {
    this.#faults.inject(fault)
  }

  /** Ends all faults. What they have done stays. */
  heal(): void {
    this.#faults.heal()
  }

  /** Holds back matching calls before they take effect. @returns what lets them go on */
  hold(filter: CallFilter = {}): () => void {
    return this.#holds.hold(filter)
  }

  /** Changes bytes of a file at rest, on the medium and for programs, as decay does. */
  damage(path: string, position: number, bytes: Uint8Array): void {
    const found = this.#tree.find(path, 'write')
    this.#tree.ownFile(this.#idOf(found.id, 'write'), 'write').damage(bytes, position)
  }

  /** Flips one bit of a file at rest. */
  flipBit(path: string, position: number, bit = 0): void {
    const value = this.contents(path)[position]
    if (value === undefined) throw new TypeError(`${path} has no byte ${position}`)
    this.damage(path, position, Uint8Array.of(value ^ (1 << bit)))
  }

  /** What a program would read of a file. */
  contents(path: string): Uint8Array {
    return this.#tree.file(this.#idOf(this.#tree.find(path, 'read').id, 'read'), 'read').cache.bytes()
  }

  /** Paths of all files, sorted. */
  paths(): string[] {
    return [...this.#tree.paths()].sort()
  }

  /** Drops clean pages from the cache, as the kernel may at any time: what a failed sync did not write is seen to be gone. */
  dropCaches(): void {
    this.#tree.evict()
  }

  open(path: string, mode: OpenMode): Promise<DiskFile> {
    return this.#do('open', { path }, () => {
      this.#open.assertRoom()
      const found = this.#tree.find(path, 'open')
      if (found.id === undefined && mode !== 'create') throw systemError('ENOENT', 'open')
      const id = found.id ?? this.#tree.addFile(found)
      if (this.#tree.file(id, 'open').cache.sizeBytes > 0 && mode === 'create') {
        this.#tree.ownFile(id, 'open').resize(0)
      }
      return this.#fileOf(this.#open.add(id, mode), path)
    })
  }

  makeDirectory(path: string): Promise<void> {
    return this.#do('makeDirectory', { path }, () => this.#tree.makeDirectory(path, 'makeDirectory'))
  }

  list(path: string): Promise<readonly string[]> {
    return this.#do('list', { path }, () => {
      const node = this.#tree.lookUp(path)?.node
      return node?.kind === 'directory' ? [...node.entries.keys()] : []
    })
  }

  sizeOf(path: string): Promise<number> {
    return this.#do('sizeOf', { path }, () => {
      const id = this.#idOf(this.#tree.find(path, 'sizeOf').id, 'sizeOf')
      return this.#tree.bytesOf(id)
    })
  }

  remove(path: string): Promise<void> {
    return this.#do('remove', { path }, () => {
      const there = this.#tree.lookUp(path)
      if (there === undefined) return
      if (there.node.kind === 'directory') throw systemError('EISDIR', 'remove')
      this.#tree.unlink(this.#tree.find(path, 'remove'))
    })
  }

  /** One call for each file and directory of the tree, from the leaves on: a crash may come between any two. */
  async removeTree(path: string): Promise<void> {
    const there = this.#tree.lookUp(path)
    if (there?.node.kind === 'directory') {
      for (const name of there.node.entries.keys()) await this.removeTree(`${path}/${name}`)
    }
    await this.#do('removeTree', { path }, () => {
      const node = this.#tree.lookUp(path)?.node
      if (node?.kind === 'directory' && node.entries.size > 0) throw systemError('ENOTEMPTY', 'removeTree')
      if (node !== undefined) this.#tree.unlink(this.#tree.find(path, 'removeTree'))
    })
  }

  rename(from: string, to: string): Promise<void> {
    return this.#do('rename', { path: from }, () => {
      this.#record.hash.addText(to)
      const source = this.#tree.find(from, 'rename')
      this.#idOf(source.id, 'rename')
      const target = this.#tree.lookUp(to)?.node
      if (target?.kind === 'directory' && target.entries.size > 0) throw systemError('ENOTEMPTY', 'rename')
      if (from !== to) this.#tree.rename(source, this.#tree.find(to, 'rename'))
    })
  }

  syncDirectory(path: string): Promise<void> {
    return this.#do('syncDirectory', { path }, (fault) => {
      const id = this.#idOf(this.#tree.find(path, 'syncDirectory').id, 'syncDirectory')
      if (fault?.effect !== 'lie') this.#tree.syncDirectory(id, 'syncDirectory')
    })
  }

  lock(directory: string): Promise<DirectoryLock> {
    return this.#do('lock', { path: directory }, () => {
      this.#tree.makeDirectory(directory, 'lock')
      if (this.#locks.has(directory)) {
        throw new RatatoskrError('RTK_STORE_LOCKED', 'the simulated directory is in use already')
      }
      this.#locks.add(directory)
      return {
        release: async () => {
          this.#locks.delete(directory)
        },
      }
    })
  }

  #fileOf(descriptor: number, path: string): DiskFile {
    const subject = { path, descriptor }
    return {
      read: (into, position) => {
        return this.#do('read', { ...subject, position, bytes: into.length }, () =>
          this.#node(descriptor, 'read').cache.read(into, position),
        )
      },
      write: (bytes, position) => {
        return this.#do('write', { ...subject, position, bytes: bytes.length }, (fault) =>
          this.#write(descriptor, bytes, position, fault),
        )
      },
      sync: () => this.#do('sync', subject, (fault) => this.#sync(descriptor, fault)),
      truncate: (sizeBytes) => {
        return this.#do('truncate', { ...subject, position: sizeBytes }, () =>
          this.#writable(descriptor, 'truncate').resize(sizeBytes),
        )
      },
      size: () => this.#do('size', subject, () => this.#node(descriptor, 'size').cache.sizeBytes),
      close: () => {
        return this.#do('close', subject, () => {
          this.#open.get(descriptor, 'close')
          this.#open.delete(descriptor)
        })
      },
    }
  }

  #write(descriptor: number, bytes: Uint8Array, position: number, fault: DiskFault | undefined): number {
    const node = this.#writable(descriptor, 'write')
    const room = this.#roomFor(node.cache.sizeBytes, position, bytes.length)
    const wanted =
      fault?.effect === 'short' ? 1 + Math.floor(this.#draw() * (bytes.length - 1)) : bytes.length
    const part = bytes.subarray(0, Math.min(wanted, room))
    if (part.length === 0 && bytes.length > 0) throw systemError('ENOSPC', 'write')
    this.#record.hash.addBytes(part)
    if (fault?.effect === 'lost') node.writeLost(part, position)
    else if (fault?.effect === 'misdirected') {
      const size = node.cache.sizeBytes
      node.write(part, Math.floor((this.#draw() * size) / this.#sectorBytes) * this.#sectorBytes)
      if (node.cache.sizeBytes < position + part.length) node.resize(position + part.length)
    } else node.write(part, position)
    return part.length
  }

  #roomFor(sizeBytes: number, position: number, count: number): number {
    if (this.capacityBytes === Number.POSITIVE_INFINITY) return count
    const free = Math.max(0, this.capacityBytes - this.usedBytes)
    return Math.max(0, Math.min(count, sizeBytes - position + free))
  }

  #sync(descriptor: number, fault: DiskFault | undefined): void {
    const { id } = this.#open.get(descriptor, 'sync')
    if (fault?.effect !== 'lie') this.#tree.ownFile(id, 'sync').sync()
  }

  #node(descriptor: number, call: DiskCall): ReturnType<DiskTree['file']> {
    return this.#tree.file(this.#open.get(descriptor, call).id, call)
  }

  #writable(descriptor: number, call: DiskCall): ReturnType<DiskTree['ownFile']> {
    const { id, mode } = this.#open.get(descriptor, call)
    if (mode === 'read') throw systemError('EBADF', call)
    return this.#tree.ownFile(id, call)
  }

  #idOf(id: number | undefined, call: DiskCall): number {
    if (id === undefined) throw systemError('ENOENT', call)
    return id
  }

  /** Waits its turns, then lets a call take effect or go wrong, and notes it. */
  async #do<T>(
    call: DiskCall,
    subject: CallSubject,
    effect: (fault: DiskFault | undefined) => T,
  ): Promise<T> {
    for (let held = this.#holds.of(call, subject.path); held !== undefined; ) {
      await held
      held = this.#holds.of(call, subject.path)
    }
    for (
      let turns = Math.floor(this.#draw() * ((this.#options.delayTurnsMax ?? 3) + 1));
      turns > 0;
      turns--
    ) {
      await undefined
    }
    this.onCall?.(call, subject.path)
    const fault = this.#faults.of(call, subject.path, this.#draw)
    let result = fault?.effect ?? 'ok'
    try {
      if (fault?.code !== undefined) throw this.#failed(call, subject, fault, fault.code)
      return effect(fault)
    } catch (error) {
      result = error instanceof Error && 'code' in error ? String(error.code) : String(error)
      throw error
    } finally {
      this.#record.add(call, subject, result)
    }
  }

  #failed(call: DiskCall, { descriptor }: CallSubject, fault: DiskFault, code: string): Error {
    const id = descriptor === undefined ? undefined : this.#open.find(descriptor)?.id
    if (call === 'sync' && id !== undefined && fault.dirtyPages !== 'kept') {
      this.#tree.ownFile(id, 'sync').syncFailed(this.#draw, this.#sectorBytes)
    }
    // A descriptor that could not be closed is closed all the same.
    if (call === 'close' && descriptor !== undefined) this.#open.delete(descriptor)
    return systemError(code, call)
  }

  #descend(tree: DiskTree, seed: number | undefined): SimulatedDisk {
    const disk = new SimulatedDisk({ ...this.#options, seed: seed ?? this.#nextSeed() }, tree)
    disk.capacityBytes = this.capacityBytes
    return disk
  }

  /** Seeds of disks that come from this one; taken from a counter, so that a fork does not change what this disk does next. */
  #nextSeed(): number {
    return Math.imul((this.#options.seed ?? 1) + ++this.#forks, 0x9e3779b1) >>> 0
  }
}

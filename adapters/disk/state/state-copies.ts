/**
 * Reads the two copies of a state file as one: they are written alike, so that the same batch stands at the same place in
 * both, and whatever is whole in either counts. Only reads; what to do about what is found is for `state-log.ts`.
 */
import { basename } from 'node:path'
import type { Checksum, DiskFile, FileSystem, OffsetRange } from 'ratatoskr/ports'
import {
  baseOffsetOf,
  batchHeaderBytes,
  batchMagic,
  batchSizeOf,
  crcOf,
  magicOf,
  nextOffsetOf,
} from 'ratatoskr/ports'
import { allocate, systemCodeOf } from '../files/file-system.ts'
import { problemOf } from '../log/batch-scan.ts'

/** The endings of the two copies; where both are whole and differ, the first counts. */
export const copyEndings = ['.log', '.copy'] as const

const windowBytes = 1024 * 1024

/** What one copy is worth. */
export interface CopyFindings {
  readonly path: string
  /**
   * `ok`: all of it is there. `torn`: so too, and the half of a change that nobody was promised. `behind`: it ends early,
   * and the other goes on. `missing`: there is no such file. `damaged`: something before its end is wrong, or cannot be
   * read. `different`: it is whole and says something else than the other.
   */
  readonly state: 'ok' | 'torn' | 'behind' | 'missing' | 'damaged' | 'different'
  readonly sizeBytes: number
  /** The first thing that is wrong with it, and where. */
  readonly problem?: string
  readonly position?: number
  readonly offset?: number
}

/** What the copies hold together. */
export interface MergedCopies {
  readonly copies: readonly CopyFindings[]
  /** Where the changes end, in a copy that has them all. */
  readonly endPosition: number
  readonly endOffset: number
  readonly batches: number
  /** CRC of the last change; 0 without one. */
  readonly lastCrc: number
  /** Changes that are damaged in both copies. */
  readonly lost: readonly OffsetRange[]
}

/** Where a batch is: in which bytes, and where in them. */
interface Found {
  readonly bytes: Uint8Array
  readonly at: number
}

/**
 * Reads the copies of one generation; those that are missing are left out.
 * @param stem path of the generation without an ending
 * @param onBatch is called for each change in order: the bytes, where in them it begins, and its position in the file
 * @throws what the system gave when a place cannot be read in one copy and is not whole in the other: nobody can tell then
 *   whether it is lost
 */
export async function mergeCopies(
  fileSystem: FileSystem,
  stem: string,
  checksum: Checksum,
  onBatch: (bytes: Uint8Array, at: number, position: number) => void,
): Promise<MergedCopies> {
  const copies = await Promise.all(
    copyEndings.map((ending) => Copy.open(fileSystem, stem + ending, checksum)),
  )
  try {
    return await merge(copies, onBatch)
  } finally {
    await Promise.all(copies.map((copy) => copy.close()))
  }
}

async function merge(
  copies: readonly Copy[],
  onBatch: (bytes: Uint8Array, at: number, position: number) => void,
): Promise<MergedCopies> {
  const lost: OffsetRange[] = []
  let [position, offset, batches, lastCrc] = [0, 0, 0, 0]
  for (;;) {
    const found = await Promise.all(copies.map((copy) => copy.batchAt(position, offset)))
    const batch = found.find((one) => one !== undefined)
    if (batch !== undefined) {
      for (const [i, copy] of copies.entries()) copy.compare(found[i], batch, position)
      onBatch(batch.bytes, batch.at, position)
      offset = nextOffsetOf(batch.bytes, batch.at)
      lastCrc = crcOf(batch.bytes, batch.at)
      position += batchSizeOf(batch.bytes, batch.at)
      batches++
      continue
    }
    // A file that ends before its first change has lost it: no end that counts.
    if (position === 0 || !copies.some((copy) => copy.endsAt(position))) {
      for (const copy of copies) copy.throwWhenUnreadable(position)
    }
    const next = await placeAfter(copies, position, offset)
    if (next === undefined) break
    lost.push({ from: offset, to: next.offset })
    ;({ position, offset } = next)
  }
  const findings = copies.map((copy) => copy.findings(position))
  return { copies: findings, endPosition: position, endOffset: offset, batches, lastCrc, lost }
}

interface Place {
  readonly position: number
  readonly offset: number
}

/** Where valid batches go on after a place that is damaged in every copy; undefined when none follows: a torn end. */
async function placeAfter(
  copies: readonly Copy[],
  position: number,
  offset: number,
): Promise<Place | undefined> {
  const found: Place[] = []
  for (const copy of copies) {
    // The length tells more than a search: a value may hold bytes that look like a batch.
    const next = (await copy.hop(position, offset)) ?? (await copy.search(position, offset))
    if (next !== undefined) found.push(next)
  }
  return found.sort((a, b) => a.position - b.position)[0]
}

class Copy {
  readonly #path: string
  readonly #file: DiskFile | undefined
  readonly #checksum: Checksum
  readonly #sizeBytes: number
  #bytes: Uint8Array = new Uint8Array(0)
  /** Position of the first byte of `#bytes`. */
  #start = 0
  #trouble: { problem: string; position: number; offset: number } | undefined
  #validAfterTrouble = false
  #different = false
  #unreadable: { readonly position: number; readonly error: unknown } | undefined

  private constructor(path: string, file: DiskFile | undefined, sizeBytes: number, checksum: Checksum) {
    this.#path = path
    this.#file = file
    this.#sizeBytes = sizeBytes
    this.#checksum = checksum
  }

  static async open(fileSystem: FileSystem, path: string, checksum: Checksum): Promise<Copy> {
    let file: DiskFile | undefined
    try {
      file = await fileSystem.open(path, 'read')
      return new Copy(path, file, await file.size(), checksum)
    } catch (error) {
      await file?.close().catch(() => undefined)
      const code = systemCodeOf(error)
      if (code !== 'ENOENT' && code !== 'EIO') throw error
      const copy = new Copy(path, undefined, 0, checksum)
      if (code === 'EIO') copy.#unreadable = { position: 0, error }
      return copy
    }
  }

  async close(): Promise<void> {
    await this.#file?.close().catch(() => undefined)
  }

  /** The batch at a place, when it is whole there. */
  async batchAt(position: number, offset: number): Promise<Found | undefined> {
    if (this.#different || this.#file === undefined) return undefined
    const problem = await this.#problemAt(position, offset)
    if (problem === undefined) {
      this.#validAfterTrouble ||= this.#trouble !== undefined
      return { bytes: this.#bytes, at: position - this.#start }
    }
    this.#trouble ??= { problem, position, offset }
    return undefined
  }

  /** Notes whether what this copy has at a place is what counts there. */
  compare(mine: Found | undefined, counts: Found, position: number): void {
    if (mine === undefined || mine === counts) return
    const [size, other] = [batchSizeOf(mine.bytes, mine.at), batchSizeOf(counts.bytes, counts.at)]
    if (size === other && crcOf(mine.bytes, mine.at) === crcOf(counts.bytes, counts.at)) return
    // From here on its history is another: nothing of it may be mixed with the one that counts.
    this.#different = true
    const offset = baseOffsetOf(mine.bytes, mine.at)
    this.#trouble ??= { problem: 'a change differs from the other copy', position, offset }
  }

  /** True where the file ends as it should: everything that was acknowledged is in it. */
  endsAt(position: number): boolean {
    return this.#file !== undefined && position === this.#sizeBytes
  }

  /** Throws the error of the system when a place cannot be read. */
  throwWhenUnreadable(position: number): void {
    const unreadable = this.#unreadable
    if (unreadable === undefined) return
    if (this.#file === undefined || unreadable.position === position) throw unreadable.error
  }

  findings(endPosition: number): CopyFindings {
    const common = { path: this.#path, sizeBytes: this.#sizeBytes }
    if (this.#file === undefined && this.#unreadable === undefined) return { ...common, state: 'missing' }
    if (this.#unreadable !== undefined) {
      const code = systemCodeOf(this.#unreadable.error) ?? 'unknown reason'
      return { ...common, ...this.#trouble, state: 'damaged', problem: `the file cannot be read (${code})` }
    }
    if (this.#different) return { ...common, ...this.#trouble, state: 'different' }
    if (this.#validAfterTrouble) return { ...common, ...this.#trouble, state: 'damaged' }
    // At the end every copy has its trouble: that nothing follows.
    if (this.#trouble === undefined || this.#trouble.position < endPosition) {
      return { ...common, ...this.#trouble, state: 'behind' }
    }
    if (this.#sizeBytes === endPosition) return { ...common, state: 'ok' }
    return { ...common, ...this.#trouble, state: 'torn' }
  }

  /** Follows lengths from a damaged batch, as long as what is there looks like a header, to one that is whole. */
  async hop(position: number, offset: number): Promise<Place | undefined> {
    let [at, floor] = [position, offset]
    for (;;) {
      const header = await this.#headerAt(at)
      if (header === undefined || header.offset < floor) return undefined
      if (at > position && (await this.#problemAt(at, header.offset)) === undefined) {
        return { position: at, offset: header.offset }
      }
      at += header.sizeBytes
      floor = header.offset + 1
    }
  }

  /**
   * Looks at every byte for the beginning of whole batches. One alone may be part of a damaged value: it counts when
   * another follows it without a gap, or the end of the file.
   */
  async search(position: number, offset: number): Promise<Place | undefined> {
    for (let at = position + 1; at + batchHeaderBytes <= this.#sizeBytes; at++) {
      if (!(await this.#hold(at, batchHeaderBytes))) return undefined
      at = this.#start + nextMagic(this.#bytes, at - this.#start)
      const header = await this.#headerAt(at)
      if (header === undefined || header.offset <= offset) continue
      if ((await this.#problemAt(at, header.offset)) !== undefined) continue
      const next = nextOffsetOf(this.#bytes, at - this.#start)
      const end = at + header.sizeBytes
      if (end === this.#sizeBytes || (await this.#problemAt(end, next)) === undefined) {
        return { position: at, offset: header.offset }
      }
    }
    return undefined
  }

  /** Offset and size of what looks like a batch, whether it is valid or not; undefined when it does not. */
  async #headerAt(position: number): Promise<{ offset: number; sizeBytes: number } | undefined> {
    if (!(await this.#hold(position, batchHeaderBytes))) return undefined
    const at = position - this.#start
    if (this.#bytes.length - at < batchHeaderBytes || magicOf(this.#bytes, at) !== batchMagic)
      return undefined
    const sizeBytes = batchSizeOf(this.#bytes, at)
    if (sizeBytes < batchHeaderBytes || position + sizeBytes > this.#sizeBytes) return undefined
    const offset = baseOffsetOf(this.#bytes, at)
    return Number.isSafeInteger(offset) ? { offset, sizeBytes } : undefined
  }

  /** What is wrong with the batch at a place; its bytes are held when nothing is. */
  async #problemAt(position: number, offset: number): Promise<string | undefined> {
    if (position === this.#sizeBytes) return 'the file ends'
    const header = await this.#headerAt(position)
    if (!(await this.#hold(position, header?.sizeBytes ?? batchHeaderBytes))) return 'it cannot be read'
    return problemOf(this.#bytes, position - this.#start, this.#bytes.length, offset, this.#checksum)
  }

  /** Makes bytes from a position available, or as many as the file has. @returns false when they cannot be read */
  async #hold(position: number, count: number): Promise<boolean> {
    const end = Math.min(position + count, this.#sizeBytes)
    if (position >= this.#start && end <= this.#start + this.#bytes.length) return true
    const left = Math.max(0, this.#sizeBytes - position)
    // When a large read fails, one of what is needed alone may not touch the place that is broken.
    let failure: unknown
    for (const wanted of [Math.max(count, windowBytes), count]) {
      const buffer = allocate(Math.min(wanted, left))
      try {
        const read = (await this.#file?.read(buffer, position)) ?? 0
        this.#bytes = buffer.subarray(0, read)
        this.#start = position
        return true
      } catch (error) {
        failure = error
      }
    }
    this.#unreadable = { position, error: failure }
    return false
  }
}

/** The next place from `at` on that has the magic where a batch would; the first that is too near to the end otherwise. */
function nextMagic(bytes: Uint8Array, at: number): number {
  while (at + batchHeaderBytes <= bytes.length && magicOf(bytes, at) !== batchMagic) at++
  return at
}

/** The generation in the name of a state file; undefined for other files. */
export function generationOf(path: string): number | undefined {
  const [, digits] = /^(\d{20})\.(?:log|copy)$/.exec(basename(path)) ?? []
  return digits === undefined ? undefined : Number(digits)
}

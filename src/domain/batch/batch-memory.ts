/**
 * Memory of large batches that is used again. A broker that takes in hundreds of megabytes a second in fresh buffers spends a
 * fifth of its processor time on having them collected.
 *
 * Bytes of a `BatchMemory` are read into, published, kept by a log, and read by many. Each who holds them is counted, from
 * `take`, `keepBytes` or `lendBytes` until `giveBackBytes`; when the last has given them back, they serve the next batch. That
 * happens only to bytes whose whole way is known:
 *
 * - A log has kept them. One that keeps what it is given without saying so would find other bytes there later.
 * - They have not escaped: whatever hands them to somebody who may hold them for as long as he likes says `letEscape` before.
 *
 * All others are left to the garbage collector, as is what somebody forgets to give back. So a mistake costs memory, but for
 * one: to look at bytes after giving them back. Whoever does finds none, for their buffer is detached when they are used again,
 * never those of another batch. What Node was given to write is no view, though: it is given back when Node has called back
 * without an error, and not before.
 */
import { RatatoskrError } from '../errors.ts'

/** Smaller batches are copied by the logs, and larger ones are rare. */
const reusedBytesMin = 64 * 1024
const reusedBytesMax = 8 * 1024 * 1024
/** What was given back is filled with it when holders are checked. */
const goneByte = 0xdb
const goneWord = 0xdbdbdbdb

export interface BatchMemoryOptions {
  /** Makes a buffer of so many bytes, which may hold anything. */
  readonly allocate: (bytes: number) => ArrayBuffer
  /** Bytes at most that wait to be used again. */
  readonly freeBytesMax: number
  /**
   * For tests: what was given back is filled with a pattern, which must still be there when it is used again, and giving back
   * more often than was taken is an error.
   */
  readonly checked?: boolean
  /** Told when something waits to be used again, and nothing did before: `trim` is to be called now and then. */
  readonly onFree?: () => void
}

/** Buffers of one size that wait. */
interface Shelf {
  readonly buffers: ArrayBuffer[]
  /** The fewest that waited since the last `trim`: so many were not needed. */
  least: number
}

/** Who holds a buffer, by the buffer: bytes themselves know nothing of it. */
const blocks = new WeakMap<ArrayBufferLike, MemoryBlock>()

export class BatchMemory {
  readonly #options: BatchMemoryOptions
  readonly #shelves = new Map<number, Shelf>()
  #freeBytes = 0

  constructor(options: BatchMemoryOptions) {
    this.#options = options
  }

  /** Bytes that wait to be used again. */
  get freeBytes(): number {
    return this.#freeBytes
  }

  /** Bytes that may hold anything, at the beginning of a buffer that is hardly larger. The caller is their first holder. */
  take(bytes: number): Uint8Array {
    if (bytes <= reusedBytesMin || bytes > reusedBytesMax) {
      return new Uint8Array(this.#options.allocate(bytes))
    }
    const size = shelfSize(bytes)
    const buffer = this.#fromShelf(size) ?? this.#options.allocate(size)
    blocks.set(buffer, new MemoryBlock(this, buffer))
    return new Uint8Array(buffer, 0, bytes)
  }

  /** Lets go of what was not needed since this was called last. */
  trim(): void {
    for (const [size, shelf] of this.#shelves) {
      shelf.buffers.length -= shelf.least
      this.#freeBytes -= shelf.least * size
      shelf.least = shelf.buffers.length
      if (shelf.buffers.length === 0) this.#shelves.delete(size)
    }
  }

  /** What a block that has no holders left calls. */
  reclaim(buffer: ArrayBuffer): void {
    const { freeBytesMax, checked, onFree } = this.#options
    const size = buffer.byteLength
    if (this.#freeBytes + size > freeBytesMax) return
    const own = buffer.transfer() // who still has a view of it sees no bytes from here on
    if (checked) new Uint8Array(own).fill(goneByte)
    const shelf = this.#shelves.get(size)
    if (shelf === undefined) this.#shelves.set(size, { buffers: [own], least: 0 })
    else shelf.buffers.push(own)
    if (this.#freeBytes === 0) onFree?.()
    this.#freeBytes += size
  }

  /** @throws RTK_INTERNAL when holders are checked */
  givenBackTooOften(): void {
    if (!this.#options.checked) return
    throw new RatatoskrError(
      'RTK_INTERNAL',
      'bytes of a batch were given back by somebody who did not hold them',
    )
  }

  #fromShelf(size: number): ArrayBuffer | undefined {
    const shelf = this.#shelves.get(size)
    const buffer = shelf?.buffers.pop()
    if (shelf === undefined || buffer === undefined) return undefined
    shelf.least = Math.min(shelf.least, shelf.buffers.length)
    this.#freeBytes -= size
    if (this.#options.checked && !isGone(new Uint32Array(buffer))) {
      throw new RatatoskrError('RTK_INTERNAL', 'bytes of a batch were changed after they had been given back')
    }
    return buffer
  }
}

/** One buffer of a `BatchMemory`, from when it is taken until all have given it back. */
export class MemoryBlock {
  readonly #memory: BatchMemory
  readonly #buffer: ArrayBuffer
  #holders = 1
  #isKept = false
  #hasEscaped = false

  constructor(memory: BatchMemory, buffer: ArrayBuffer) {
    this.#memory = memory
    this.#buffer = buffer
  }

  /** A log holds it, and gives it back when it has let go of the batch. */
  keep(): void {
    this.#isKept = true
    this.#holders++
  }

  lend(): void {
    this.#holders++
  }

  escape(): void {
    this.#hasEscaped = true
  }

  giveBack(): void {
    if (this.#holders === 0) this.#memory.givenBackTooOften()
    else if (--this.#holders === 0 && this.#isKept && !this.#hasEscaped) this.#memory.reclaim(this.#buffer)
  }
}

/** Holds bytes for a log that keeps them. @returns what to give back then; undefined when the memory is nobody's to use again */
export function keepBytes(bytes: Uint8Array): MemoryBlock | undefined {
  const block = blocks.get(bytes.buffer)
  block?.keep()
  return block
}

/** Counts one holder more, who gives them back. Without effect on bytes of other memory, as are those below. */
export const lendBytes = (bytes: Uint8Array): void => blocks.get(bytes.buffer)?.lend()

/** Once for each time that they were taken, lent or kept: the holder looks at them no more. */
export const giveBackBytes = (bytes: Uint8Array): void => blocks.get(bytes.buffer)?.giveBack()

/** From here on somebody may hold them for as long as he likes: their memory is never used again. */
export const letEscape = (bytes: Uint8Array): void => blocks.get(bytes.buffer)?.escape()

function isGone(words: Uint32Array): boolean {
  for (let i = 0; i < words.length; i++) if (words[i] !== goneWord) return false
  return true
}

/** The size of the buffer for so many bytes: larger by a sixteenth at most, so that there are few sizes. */
function shelfSize(bytes: number): number {
  const step = 2 ** (31 - Math.clz32(bytes) - 4)
  return Math.ceil(bytes / step) * step
}

/** Looks for batches in bytes that may be anything: what damaged-segment.ts and others ask of a damaged file. */
import type { DiskFile } from 'ratatoskr/ports'
import {
  baseOffsetOf,
  batchHeaderBytes,
  batchMagic,
  batchSizeOf,
  type Checksum,
  crcOf,
  crcStart,
  lastOffsetDeltaOf,
  leaderEpochOf,
  lengthPrefixBytes,
  magicOf,
} from 'ratatoskr/ports'
import { allocate } from '../files/file-system.ts'
import { leaderEpoch, nextCandidate, scanBatches, Window } from './batch-scan.ts'
import type { Place } from './place.ts'

/** A damaged length asks for any number of bytes in memory; a batch has not so many. */
const probedBytesMax = 256 * 1024 * 1024
/** No batch has such a length in practice: it is that of a header that is none. */
export const likelyBytesMax = 64 * 1024 * 1024
/** No batch has more records than its last offset delta can say. */
export const recordsPerBatchMax = 2 ** 31

/** What the header at a position says, true or not. */
export interface BatchHead {
  readonly position: number
  readonly endPosition: number
  readonly baseOffset: number
  readonly records: number
  readonly nextOffset: number
  readonly crc: number
  readonly hasMagic: boolean
  readonly hasEpoch: boolean
}

export class BatchProbe {
  readonly #file: DiskFile
  readonly #sizeBytes: number
  readonly #checksum: Checksum
  readonly #window: Window
  readonly #runWindow: Window
  /** Bytes that may still go through the checksum in vain: hostile payloads could ask for no end of it. */
  #checksumBytesLeft: number

  constructor(file: DiskFile, sizeBytes: number, checksum: Checksum) {
    this.#file = file
    this.#sizeBytes = sizeBytes
    this.#checksum = checksum
    this.#window = new Window(file, sizeBytes)
    this.#runWindow = new Window(file, sizeBytes)
    this.#checksumBytesLeft = 64 * 1024 * 1024 + 16 * sizeBytes
  }

  /** The header at a position; undefined when less than one is left of the file. */
  async headAt(position: number): Promise<BatchHead | undefined> {
    if (position + batchHeaderBytes > this.#sizeBytes) return undefined
    await this.#window.hold(position, batchHeaderBytes)
    const at = position - this.#window.start
    return this.#window.bytes.length - at < batchHeaderBytes ? undefined : this.#headIn(at)
  }

  /** True when the bytes are a whole batch by length, magic and CRC, whatever its offsets and epoch. */
  async isWhole({ position, endPosition, records, hasMagic, crc }: BatchHead): Promise<boolean> {
    const size = endPosition - position
    if (!hasMagic || size < batchHeaderBytes || endPosition > this.#sizeBytes || records < 1) {
      return false
    }
    return this.#isCrcOf(crc, position + crcStart, endPosition)
  }

  /**
   * The first whole batch from a position on that `accepts` and has the right epoch.
   * @param onBroken is called for those on the way that are not whole
   */
  async findBatch(
    from: number,
    accepts: (head: BatchHead) => boolean,
    onBroken: (head: BatchHead) => void = () => {},
  ): Promise<BatchHead | undefined> {
    const window = this.#window
    let position = from
    while (position + batchHeaderBytes <= this.#sizeBytes) {
      await window.hold(position, batchHeaderBytes)
      const at = position - window.start
      if (window.bytes.length - at < batchHeaderBytes) return undefined
      const candidate = nextCandidate(window.bytes, at)
      position += candidate - at
      if (candidate + batchHeaderBytes > window.bytes.length) continue
      const head = this.#headIn(candidate)
      if (head.hasEpoch && accepts(head)) {
        if (await this.isWhole(head)) return head
        onBroken(head)
      }
      position++
    }
    return undefined
  }

  /** True when the CRC of a header is that of everything up to `end`: only the length is damaged then. */
  async fits({ position, crc }: BatchHead, end: number): Promise<boolean> {
    return this.#isCrcOf(crc, position + crcStart, end)
  }

  /**
   * Where valid batches in a row begin that begin at a place, and where they end; between the two where one begins with an
   * offset that is expected or, when there is none, nothing.
   */
  async runFrom(start: Place, expectedOffset: number): Promise<readonly Place[]> {
    const places = [start]
    const { endPosition: position, endOffset: offset } = await scanBatches(
      this.#file,
      start,
      this.#sizeBytes,
      this.#checksum,
      (bytes, at, found) => {
        const baseOffset = baseOffsetOf(bytes, at)
        if (baseOffset === expectedOffset && found > start.position) {
          places.push({ position: found, offset: baseOffset })
        }
      },
      this.#runWindow,
    )
    places.push({ position, offset })
    return places
  }

  /** True when the batch stands in the segment before, too. */
  async isCopy(head: BatchHead, segmentBase: number): Promise<boolean> {
    let found = false
    await scanBatches(
      this.#file,
      { position: 0, offset: segmentBase },
      head.position,
      this.#checksum,
      (bytes, at) => {
        found ||= baseOffsetOf(bytes, at) === head.baseOffset && crcOf(bytes, at) === head.crc
      },
    )
    return found
  }

  /** True when nothing but zeros follow to the end of the file. */
  async isZeroFrom(from: number): Promise<boolean> {
    const window = this.#window
    for (let position = from; position < this.#sizeBytes; position = window.start + window.bytes.length) {
      await window.hold(position, 1)
      const at = position - window.start
      if (at >= window.bytes.length) return true
      for (let i = at; i < window.bytes.length; i++) if (window.bytes[i] !== 0) return false
    }
    return true
  }

  /** True when the bytes to the end of the file, less than a header, are the beginning of a batch with this offset. */
  async beginsWithOffset(position: number, offset: number): Promise<boolean> {
    await this.#window.hold(position, batchHeaderBytes)
    const at = position - this.#window.start
    const { bytes } = this.#window
    return bytes.length - at >= 8 && baseOffsetOf(bytes, at) === offset
  }

  #headIn(at: number): BatchHead {
    const { bytes, start } = this.#window
    const position = start + at
    const baseOffset = baseOffsetOf(bytes, at)
    const records = lastOffsetDeltaOf(bytes, at) + 1
    return {
      position,
      endPosition: position + batchSizeOf(bytes, at),
      baseOffset,
      records,
      nextOffset: baseOffset + records,
      crc: crcOf(bytes, at),
      hasMagic: magicOf(bytes, at) === batchMagic,
      hasEpoch: leaderEpochOf(bytes, at) === leaderEpoch,
    }
  }

  /** True when a part of the file has this CRC-32C; false as well when too much was computed in vain already. */
  async #isCrcOf(crc: number, start: number, end: number): Promise<boolean> {
    const count = end - start
    if (count <= 0 || count > probedBytesMax || count > this.#checksumBytesLeft) return false
    const bytes = allocate(count)
    const isRight = (await this.#file.read(bytes, start)) === count && this.#checksum(bytes) === crc
    if (!isRight) this.#checksumBytesLeft -= count
    return isRight
  }
}

/** True when a header is what must be where a batch begins with this offset, as far as can be told without its checksum. */
export const isPlausible = (head: BatchHead, offset: number): boolean =>
  head.hasMagic &&
  head.hasEpoch &&
  head.baseOffset === offset &&
  head.records >= 1 &&
  head.endPosition - head.position >= batchHeaderBytes &&
  head.endPosition - head.position < recordsPerBatchMax + lengthPrefixBytes

/** False for a header that is none, by what it says of its size. */
export const isLikely = ({ position, endPosition, records }: BatchHead): boolean =>
  records >= 1 && endPosition - position >= batchHeaderBytes && endPosition - position <= likelyBytesMax

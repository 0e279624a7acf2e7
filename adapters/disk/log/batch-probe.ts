/** Looks for batches in bytes that may be anything: what segment-scan.ts asks of a damaged file. */
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
  magicOf,
} from 'ratatoskr/ports'
import { allocate } from '../files/file-system.ts'
import { leaderEpoch, nextCandidate, scanBatches, Window } from './batch-scan.ts'

/** A damaged length asks for any number of bytes in memory; a batch has not so many. */
const probedBytesMax = 256 * 1024 * 1024

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
  /** Zeros where its beginning or its end must be, as blocks leave them that were never written. */
  readonly hasHole: boolean
}

export class BatchProbe {
  readonly #file: DiskFile
  readonly #sizeBytes: number
  readonly #checksum: Checksum
  readonly #window: Window
  /** Bytes that may still go through the checksum: hostile payloads could ask for no end of it. */
  #checksumBytesLeft: number

  constructor(file: DiskFile, sizeBytes: number, checksum: Checksum) {
    this.#file = file
    this.#sizeBytes = sizeBytes
    this.#checksum = checksum
    this.#window = new Window(file, sizeBytes)
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
    return (await this.#checksumOf(position + crcStart, endPosition)) === crc
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

  /**
   * Where a batch ends whose length is damaged: at the batch that continues its offsets, or with the file, when the CRC
   * over everything up to there is the header's.
   */
  async endByChecksum(head: BatchHead): Promise<number | undefined> {
    const start = head.position + crcStart
    let from = head.position + batchHeaderBytes
    for (;;) {
      const found = await this.findBatch(from, ({ baseOffset }) => baseOffset === head.nextOffset)
      const end = found?.position ?? this.#sizeBytes
      if (end !== head.endPosition && (await this.#checksumOf(start, end)) === head.crc) return end
      if (found === undefined) return undefined
      from = found.position + 1
    }
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
      hasHole: isZero(bytes, at, at + 8) || isZero(bytes, at + 16, at + batchHeaderBytes),
    }
  }

  /** The CRC-32C of a part of the file; undefined when it is not there, or when too much was computed already. */
  async #checksumOf(start: number, end: number): Promise<number | undefined> {
    const count = end - start
    if (count > probedBytesMax) return undefined
    this.#checksumBytesLeft -= count
    if (this.#checksumBytesLeft < 0) return undefined
    const bytes = allocate(count)
    return (await this.#file.read(bytes, start)) === count ? this.#checksum(bytes) : undefined
  }
}

const isZero = (bytes: Uint8Array, from: number, to: number): boolean =>
  bytes.subarray(from, to).every((byte) => byte === 0)

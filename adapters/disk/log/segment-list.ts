/** The segments of one log in order, the last of which is written, and what they hold together. */
import type { OffsetRange } from 'ratatoskr/ports'
import type { Gap, Place } from './place.ts'
import type { Segment } from './segment.ts'
import { corrupt } from './store-errors.ts'

export class SegmentList {
  /** Never empty. */
  #segments: Segment[]
  #sizeBytes = 0
  #damaged: readonly OffsetRange[]

  constructor(segments: readonly Segment[]) {
    this.#segments = [...segments]
    for (const { sizeBytes } of segments) this.#sizeBytes += sizeBytes
    this.#damaged = offsetsOf(segments.map(({ gaps }) => gaps))
  }

  get all(): readonly Segment[] {
    return this.#segments
  }

  /** The one that is written. */
  get active(): Segment {
    return this.#segments[this.#segments.length - 1]
  }

  get startOffset(): number {
    return this.#segments[0].baseOffset
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** What is lost, in offsets; gaps side by side are one. */
  get damaged(): readonly OffsetRange[] {
    return this.#damaged
  }

  /** What of `damaged` somebody has accepted as lost. */
  get acceptedLosses(): readonly OffsetRange[] {
    const accepted = this.#segments.map((one) => one.gaps.filter((gap) => one.accepted.includes(gap)))
    return offsetsOf(accepted)
  }

  add(segment: Segment): void {
    this.#segments.push(segment)
  }

  /** Counts a batch at the end. */
  append(batchBytes: number, recordCount: number, maxTimestampMs: number): void {
    this.active.add(batchBytes, recordCount, maxTimestampMs)
    this.#sizeBytes += batchBytes
  }

  /** The segment that an offset of the log lies in. */
  holding(offset: number): Segment {
    const segments = this.#segments
    let low = 0
    let high = segments.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (segments[middle].baseOffset <= offset) low = middle
      else high = middle - 1
    }
    return segments[low]
  }

  /** The end of the last segment that lies wholly within the first `bytes`; the start when none does. */
  offsetAfterBytes(bytes: number): number {
    let offset = this.startOffset
    let left = bytes
    for (const { sizeBytes, endOffset } of this.#segments) {
      left -= sizeBytes
      if (left < 0) break
      offset = endOffset
    }
    return offset
  }

  /** The segments behind one, in order. */
  after(segment: Segment): readonly Segment[] {
    return this.#segments.slice(this.#segments.indexOf(segment) + 1)
  }

  /** The segment before one; undefined when it is the first. */
  before(segment: Segment): Segment | undefined {
    return this.#segments[this.#segments.indexOf(segment) - 1]
  }

  /** Forgets the segments that end at or before an offset. @returns them, in order */
  dropBefore(offset: number): readonly Segment[] {
    const segments = this.#segments
    let count = 0
    // The last file stays whatever is in it: its name holds the offset at which the log goes on.
    while (segments[count].endOffset <= offset && segments[count + 1]?.created === true) count++
    const gone = segments.slice(0, count)
    this.#segments = segments.slice(count)
    for (const { sizeBytes } of gone) this.#sizeBytes -= sizeBytes
    if (count > 0) this.noteDamage()
    return gone
  }

  /** Forgets what lies behind a place in a segment. */
  cut(segment: Segment, place: Place): void {
    for (const { sizeBytes } of this.after(segment)) this.#sizeBytes -= sizeBytes
    this.#segments.length = this.#segments.indexOf(segment) + 1
    this.#sizeBytes -= segment.sizeBytes - place.position
    segment.cut(place)
    this.noteDamage()
  }

  /** Gathers what is lost: after a segment was examined. */
  noteDamage(): void {
    this.#damaged = offsetsOf(this.#segments.map(({ gaps }) => gaps))
  }

  /** @throws RTK_STORE_CORRUPT when the record at an offset is known to be lost */
  assertUndamaged(offset: number): void {
    const lost = this.#damaged.find(({ to }) => offset < to)
    if (lost !== undefined && offset >= lost.from)
      throw corrupt('the record is lost to damage', offset, lost.to)
  }
}

function offsetsOf(gapsOfSegments: readonly (readonly Gap[])[]): readonly OffsetRange[] {
  const ranges: { from: number; to: number }[] = []
  for (const gaps of gapsOfSegments) {
    for (const { offset, endOffset } of gaps) {
      const last = ranges.at(-1)
      if (last?.to === offset) last.to = endOffset
      else if (endOffset > offset) ranges.push({ from: offset, to: endOffset })
    }
  }
  return ranges
}

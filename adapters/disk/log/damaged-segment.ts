/**
 * Finds the batches behind a damaged place of a segment. That is delicate, for a payload may itself hold valid record batches
 * (a mirrored log, a hostile client): bytes that look like a batch are not always one of ours. FORMAT.md has the rules for
 * readers of other make. In short, in one pass from the damaged place to the end of the file:
 *
 *  1. Batches that are whole by their checksum and follow each other without a gap are a run, and so is one alone. What lies
 *     within a batch that is whole is its payload.
 *  2. A run counts when it joins on to something before it or behind it. Before it: it begins where a batch of ours ends, or
 *     where the header of a damaged one says that it does, with the offset that must follow. Behind it: it ends as a segment
 *     does, with the file or in zeros, or at what looks like the header of a batch. Batches within a payload are followed by the
 *     rest of the payload. A batch alone does not count when the batch on one side contradicts its offset and nothing on the
 *     other side confirms it: base offsets are in no checksum.
 *  3. A run does not count that joins on behind only and lies within what looks like a damaged batch.
 *  4. Of the runs that count, those are served that together have the most bytes while their offsets rise; one that ends with
 *     the file has more than all others.
 *
 * What does not count is given up as a part of the gap, rather than to serve what may be a part of a payload.
 */
import type { Checksum, DiskFile } from 'ratatoskr/ports'
import { batchHeaderBytes } from 'ratatoskr/ports'
import {
  type BatchHead,
  type BatchProbe,
  isLikely,
  isPlausible,
  likelyBytesMax,
  recordsPerBatchMax,
} from './batch-probe.ts'
import type { Place, Run } from './place.ts'
import { heaviest, type WeighedRun } from './run-choice.ts'

/** A segment's file, and what its neighbours say of it. */
export interface ScanSource {
  readonly file: DiskFile
  readonly sizeBytes: number
  readonly checksum: Checksum
  readonly baseOffset: number
  /** Where the segment must end: the next one's base offset. Undefined when it may end torn. */
  readonly limitOffset: number | undefined
}

/** Where one batch ends and another begins, as far as can be told. */
interface Boundary extends Place {
  /** The offset of the batch that begins there when a batch before it that does not belong there took none. */
  readonly leastOffset: number
  /** False when the offset is what a damaged header has: it may confirm another, and contradicts none. */
  readonly isCertain: boolean
  /** It is within a payload when what was sealed was cut. */
  readonly isDoubtful: boolean
}

/** At a boundary, with a header that is what must be there: its length may be what is damaged. */
interface DamagedBatch {
  readonly head: BatchHead
  readonly isDoubtful: boolean
  /** How many places were tried for its end. */
  tries: number
}

/** A run that counts, or does unless what was sealed was cut. */
interface Joined extends WeighedRun {
  readonly isDoubtful: boolean
}

const relativeOffsetMax = 0xffff_ffff
/** So many batches are tried for one that reaches to the end of the file when its length is right. */
const lastBatchesMax = 16
/** Only a hostile payload has more batches with the offset that follows it. */
const endsTriedMax = 16

/**
 * The runs that are served behind a damaged place, in order.
 * @param from where the batch must begin that is damaged
 */
export async function findRuns(probe: BatchProbe, source: ScanSource, from: Place): Promise<readonly Run[]> {
  const survey = new Survey(probe, source, from)
  return heaviest(await survey.run()).map(({ run }) => run)
}

/** One pass over what lies behind a damaged place. */
class Survey {
  readonly #probe: BatchProbe
  readonly #source: ScanSource
  readonly #from: Place
  /** Where what looks like damaged batches ends that goes on beyond where the pass is, or did. */
  #coveredTo: Place = { position: 0, offset: 0 }
  /** The segment is sealed, and what looks like a damaged batch leads out of it: its length is wrong, or the file was cut. */
  #leadsOut = false
  /** The last one that is known. */
  #boundary: Boundary | undefined
  /** A header that is damaged may look like one when it is read a few bytes off. */
  #headersFrom: number
  /** By the offset that follows, and in order. */
  readonly #damaged = new Map<number, DamagedBatch>()
  readonly #damagedInOrder: DamagedBatch[] = []
  readonly #joined: Joined[] = []

  constructor(probe: BatchProbe, source: ScanSource, from: Place) {
    this.#probe = probe
    this.#source = source
    this.#from = from
    this.#boundary = { ...from, leastOffset: from.offset, isCertain: true, isDoubtful: false }
    this.#headersFrom = from.position + batchHeaderBytes
  }

  /** @returns the runs that count */
  async run(): Promise<readonly WeighedRun[]> {
    let { position } = this.#from
    for (;;) {
      const boundary = this.#boundaryAt(position)
      let head = boundary && (await this.#probe.headAt(position))
      if (boundary !== undefined && head !== undefined && !(await this.#probe.isWhole(head))) {
        position = await this.#passDamaged(head, boundary)
        if (this.#boundaryAt(position) !== undefined) continue
        head = undefined
      }
      head ??= await this.#nextWhole(position)
      if (head === undefined) break
      position = await this.#pass(head)
    }
    await this.#tryLast()
    const { sizeBytes, limitOffset } = this.#source
    const isCut = !this.#joined.some(
      ({ run: { end } }) => end.position === sizeBytes && end.offset === limitOffset,
    )
    return this.#joined.filter(({ isDoubtful }) => !(isDoubtful && isCut))
  }

  #boundaryAt(position: number): Boundary | undefined {
    return this.#boundary?.position === position ? this.#boundary : undefined
  }

  /** The next whole batch where no boundary is known. */
  #nextWhole(from: number): Promise<BatchHead | undefined> {
    return this.#probe.findBatch(from, isLikely, (head) => {
      if (head.position >= this.#headersFrom && this.#admits(placeOf(head), head.nextOffset)) {
        this.#cover(endOf(head))
      }
    })
  }

  #cover(end: Place): void {
    const { limitOffset, sizeBytes } = this.#source
    if (limitOffset !== undefined && end.position > sizeBytes) this.#leadsOut = true
    else if (end.position > this.#coveredTo.position) this.#coveredTo = end
  }

  /** Takes a damaged batch up that begins at a boundary. @returns where to look on, at the next boundary or for it */
  async #passDamaged(head: BatchHead, { offset, leastOffset, isDoubtful }: Boundary): Promise<number> {
    this.#boundary = undefined
    this.#headersFrom = head.position + batchHeaderBytes
    if (!isPlausible(head, offset) && !isPlausible(head, leastOffset)) return head.position + 1
    const { endPosition, nextOffset } = head
    if (!this.#damaged.has(nextOffset)) {
      const damaged = { head, isDoubtful, tries: 0 }
      this.#damaged.set(nextOffset, damaged)
      this.#damagedInOrder.push(damaged)
    }
    const boundary = { ...endOf(head), leastOffset: nextOffset, isCertain: false, isDoubtful }
    const follower = await this.#probe.headAt(endPosition)
    if (follower !== undefined && isPlausible(follower, nextOffset)) {
      this.#boundary = boundary
      return endPosition
    }
    if (follower !== undefined && (await this.#probe.isWhole(follower))) this.#boundary = boundary
    this.#cover(endOf(head))
    return head.position + 1
  }

  /** Takes a run up that begins with a whole batch. @returns where the run ends */
  async #pass(head: BatchHead): Promise<number> {
    await this.#tryLength(head)
    const start = placeOf(head)
    const boundary = this.#boundaryAt(start.position)
    const expected = boundary?.leastOffset ?? this.#joined.at(-1)?.run.end.offset ?? this.#from.offset
    const places = head.hasEpoch ? await this.#probe.runFrom(start, expected) : [start, endOf(head)]
    const end = places[places.length - 1]
    const isLedTo = isSame(start, this.#coveredTo)
    const ours = places
      .slice(1)
      .map((to, i): Run => ({ start: places[i], end: to }))
      .filter((run) => head.hasEpoch && this.#admits(run.start, run.end.offset))
    const isAlone = end.position === head.endPosition
    const isFollowing = boundary !== undefined && ours.some((run) => joinsOn(run, boundary))
    const confirmed = !isAlone || isLedTo ? 'right' : boundary?.isCertain === true ? 'doubtful' : 'unknown'
    if (isFollowing || (ours.length > 0 && (await this.#joinsBehind({ start, end }, confirmed)))) {
      const isDoubtful = isFollowing ? boundary.isDoubtful : this.#leadsOut
      // No payload ends with the file: a run that does is worth more than all that do not.
      const extra = end.position === this.#source.sizeBytes ? end.position : 0
      for (const run of ours) {
        this.#joined.push({ run, isDoubtful, weight: run.end.position - run.start.position + extra })
      }
      this.#boundary = { ...end, leastOffset: end.offset, isCertain: true, isDoubtful }
    } else if (boundary !== undefined) {
      // An offset that is damaged may be too large to count with.
      const offset = boundary.offset + (isAlone ? head.records : end.offset - start.offset)
      this.#boundary = { ...boundary, position: end.position, offset }
    }
    return end.position
  }

  /** Looks whether a damaged batch ends where another begins that follows it by its offset. */
  async #tryLength(follower: BatchHead): Promise<void> {
    const { position, baseOffset: offset } = follower
    const damaged = this.#damaged.get(offset)
    if (damaged === undefined || damaged.head.endPosition === position) return
    if (++damaged.tries > endsTriedMax || !(await this.#probe.fits(damaged.head, position))) return
    this.#dropFrom(damaged)
    this.#boundary = {
      position,
      offset,
      leastOffset: offset,
      isCertain: true,
      isDoubtful: damaged.isDoubtful,
    }
  }

  /** Looks for a damaged batch that ends with the file. */
  async #tryLast(): Promise<void> {
    const { limitOffset, sizeBytes } = this.#source
    const all = this.#damagedInOrder.filter(
      ({ head }) => limitOffset === undefined || head.nextOffset === limitOffset,
    )
    for (const one of all.slice(-lastBatchesMax)) {
      const hides = (this.#joined.at(-1)?.run.start.position ?? -1) > one.head.position
      if (hides && (await this.#probe.fits(one.head, sizeBytes))) this.#dropFrom(one)
    }
  }

  /** A batch is whole but for its length: what was taken for others behind its header is its payload. */
  #dropFrom({ head: { position }, isDoubtful }: DamagedBatch): void {
    while ((this.#joined.at(-1)?.run.start.position ?? -1) >= position) this.#joined.pop()
    for (let last = this.#damagedInOrder.at(-1); last !== undefined; last = this.#damagedInOrder.at(-1)) {
      if (last.head.position < position) break
      this.#damagedInOrder.pop()
      this.#damaged.delete(last.head.nextOffset)
    }
    this.#coveredTo = { position: 0, offset: 0 }
    this.#leadsOut = isDoubtful
  }

  /**
   * True when a run joins on to what lies behind it, or is too long for a payload; and lies in none as far as can be told.
   * @param offsets what is known of its offsets without that: several batches confirm each other's, and the batch before may
   *   contradict that of one
   */
  async #joinsBehind({ start, end }: Run, offsets: 'right' | 'unknown' | 'doubtful'): Promise<boolean> {
    const { limitOffset, sizeBytes } = this.#source
    if (end.position <= this.#coveredTo.position) return false
    if (end.position - start.position > likelyBytesMax) return true
    const head = await this.#probe.headAt(end.position)
    if (head?.baseOffset === end.offset && (head.hasMagic || head.hasEpoch)) return true
    if (head?.hasMagic && head.hasEpoch) {
      if (offsets === 'right' || !(await this.#probe.isWhole(head))) return offsets !== 'doubtful'
      // Of two whole batches that contradict each other, the one is right that the next batch follows.
      const next = await this.#probe.headAt(head.endPosition)
      return next?.baseOffset === end.offset + head.records
    }
    if (limitOffset !== undefined && limitOffset !== end.offset) return false
    const isEnd =
      end.position === sizeBytes ||
      // A few zeros end many a payload: only where a header should be do they tell.
      (head === undefined
        ? await this.#probe.beginsWithOffset(end.position, end.offset)
        : await this.#probe.isZeroFrom(end.position))
    return isEnd && (limitOffset !== undefined || offsets !== 'doubtful')
  }

  /** True when a run may come after the damaged place: no offset twice, none beyond what can lie between. */
  #admits({ position, offset }: Place, endOffset: number): boolean {
    const { baseOffset, limitOffset } = this.#source
    const between = Math.max(1, Math.floor((position - this.#from.position) / batchHeaderBytes))
    // Offset 0 is the first in a log; anywhere else it is the zeros of a hole that ends within the header.
    if (offset === 0 && position > 0) return false
    return (
      offset >= this.#from.offset &&
      offset - this.#from.offset <= between * recordsPerBatchMax &&
      endOffset - baseOffset <= relativeOffsetMax &&
      endOffset <= (limitOffset ?? Number.MAX_SAFE_INTEGER)
    )
  }
}

const isSame = (one: Place, other: Place): boolean =>
  one.position === other.position && one.offset === other.offset

const placeOf = ({ position, baseOffset: offset }: BatchHead): Place => ({ position, offset })

const endOf = ({ endPosition: position, nextOffset: offset }: BatchHead): Place => ({ position, offset })

/** True when a run begins with an offset that a boundary says. */
const joinsOn = ({ start }: Run, { offset, leastOffset }: Boundary): boolean =>
  start.offset === offset || start.offset === leastOffset

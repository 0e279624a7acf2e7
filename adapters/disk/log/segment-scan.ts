/**
 * Walks a segment that may be damaged: finds the batches before, between and after the damage, and tells a damaged place
 * from the torn end that a crash leaves. Damage becomes a gap; the file is never changed for it.
 *
 * Which batches behind a damaged place are ours is said by damaged-segment.ts. Here is what comes of it: what lies between
 * the runs that it finds are gaps. What lies behind the last run is a gap, too, where the segment is sealed, where there is a
 * gap before it, or where a batch in it was whole once, so that no crash tore it. Otherwise it is a torn end.
 */
import { type BatchHead, BatchProbe, isPlausible } from './batch-probe.ts'
import { scanBatches } from './batch-scan.ts'
import { findRuns, type ScanSource } from './damaged-segment.ts'
import { type Gap, gapOf, type Place } from './place.ts'

export interface SegmentScan {
  /** Where valid batches and gaps end: the end of the file, unless it is torn. */
  readonly end: Place
  readonly gaps: readonly Gap[]
  /** What is wrong with the bytes after `end`, which are a torn end; undefined when there are none. */
  readonly torn: string | undefined
}

/** Told of each valid batch: the bytes, where in them it begins, its position, and whether it is the first after a gap. */
export type OnBatch = (bytes: Uint8Array, at: number, position: number, afterGap: boolean) => void

/** A base offset that is larger by more than this is damaged rather than right. */
const doubtfulOffsetsMax = 65_536

/**
 * Checks the batches of a segment from a place to the end of its file, and finds the gaps.
 * @param damagedBefore the segment is known to be damaged before `from`, so that nothing is cut off its end
 */
export async function scanSegment(
  source: ScanSource,
  from: Place,
  damagedBefore: boolean,
  onBatch: OnBatch,
): Promise<SegmentScan> {
  const { file, sizeBytes, checksum, limitOffset } = source
  const first = await scanBatches(file, from, sizeBytes, checksum, (bytes, at, position) =>
    onBatch(bytes, at, position, false),
  )
  let end: Place = { position: first.endPosition, offset: first.endOffset }
  if (first.problem === undefined) return { end, gaps: [], torn: undefined }
  const gaps: Gap[] = []
  const probe = new BatchProbe(file, sizeBytes, checksum)
  const runs = await findRuns(probe, source, end)
  for (const run of runs) {
    const afterGap = run.start.position > end.position || run.start.offset > end.offset
    if (afterGap) gaps.push(gapOf(end, run.start))
    await scanBatches(file, run.start, run.end.position, checksum, (bytes, at, position) =>
      onBatch(bytes, at, position, afterGap && position === run.start.position),
    )
    end = run.end
  }
  if (end.position === sizeBytes) return { end, gaps, torn: undefined }
  const endOffset =
    limitOffset ??
    (await takenBehind(probe, source, end)) ??
    (damagedBefore || gaps.length > 0 ? end.offset : undefined)
  if (endOffset === undefined || endOffset < end.offset) {
    const rest = runs.length > 0 ? await scanBatches(file, end, sizeBytes, checksum, () => {}) : first
    return { end, gaps, torn: rest.problem }
  }
  const last = { position: sizeBytes, offset: endOffset }
  gaps.push(gapOf(end, last))
  return { end: last, gaps, torn: undefined }
}

/**
 * The offset up to which batches behind a place took offsets, in a segment that is written: those that are whole by their
 * checksum, or would be if their length was right, and so are no crash's doing. Undefined when there are none.
 */
async function takenBehind(probe: BatchProbe, source: ScanSource, from: Place): Promise<number | undefined> {
  let { position, offset } = from
  let taken: number | undefined
  for (;;) {
    const head = await probe.headAt(position)
    if (head === undefined) return taken
    if (await probe.isWhole(head)) {
      // At the start of a file they say that the file is a copy of another.
      const foreignEnd =
        from.position > 0 ? await endOfForeign(probe, source, { position, offset }, head) : undefined
      position = foreignEnd ?? head.endPosition
      if (foreignEnd !== undefined) continue
      if (head.baseOffset < offset && (await probe.isCopy(head, source.baseOffset))) continue
      if (head.baseOffset > offset && head.baseOffset - offset <= doubtfulOffsetsMax) {
        // Its offset is in doubt, so that it is not served; but it may be right, and then it was given out.
        taken = head.nextOffset
        continue
      }
      offset += head.records
      // Zeros where the base offset must be are what a hole leaves that ends within the header.
      if (head.baseOffset !== 0 || offset === head.records) taken = offset
      continue
    }
    if (!isPlausible(head, offset)) return taken
    offset = head.nextOffset
    const follower = await probe.headAt(head.endPosition)
    if (follower === undefined || !(isPlausible(follower, offset) || (await probe.isWhole(follower)))) {
      return (await probe.fits(head, source.sizeBytes)) ? offset : taken
    }
    position = head.endPosition
  }
}

/**
 * Where batches end that go on from each other, at the end of what is written, with offsets that the log has had: a stale copy
 * of others. No damage makes those of several batches in a row, so that they say nothing of offsets that were given out.
 */
async function endOfForeign(
  probe: BatchProbe,
  { file, sizeBytes, checksum }: ScanSource,
  at: Place,
  { position, baseOffset: offset, endPosition, nextOffset, hasEpoch }: BatchHead,
): Promise<number | undefined> {
  if (!hasEpoch || offset < 0 || offset >= at.offset) return undefined
  const follower = await probe.headAt(endPosition)
  // What goes on with the log belongs to it.
  if (follower?.baseOffset !== nextOffset || nextOffset === at.offset) return undefined
  const end = await scanBatches(file, { position, offset }, sizeBytes, checksum, () => undefined)
  return end.endPosition > endPosition && end.endOffset <= at.offset ? end.endPosition : undefined
}

/** The gaps of a scan; with one at the end when the file is shorter than it was. */
export function gapsUpTo({ gaps, end, torn }: SegmentScan, wanted: Place): readonly Gap[] {
  if (torn === undefined && end.position === wanted.position && end.offset === wanted.offset) return gaps
  const last = gaps.at(-1)
  const joined = last !== undefined && last.endPosition === end.position && torn === undefined
  const from = joined ? last : end
  return [
    ...(joined ? gaps.slice(0, -1) : gaps),
    { position: from.position, endPosition: wanted.position, offset: from.offset, endOffset: wanted.offset },
  ]
}

/**
 * Walks a segment that may be damaged: finds the batches before, between and after the damage, and tells a damaged place
 * from the torn end that a crash leaves. Damage becomes a gap; the file is never changed for it.
 *
 * Where to go on after a damaged place is the delicate part, for a payload may itself hold valid record batches (a mirrored
 * log, a hostile client): bytes that look like a batch are not always one of ours. A batch at P, expected at offset E, that
 * is not valid is passed as follows (FORMAT.md has the rule for readers of other make):
 *
 *  1. Nothing but zeros to the end of the file, or less than a header: that is the end.
 *  2. The batch is whole by its CRC, and only what the CRC leaves out is wrong (base offset, epoch): its extent is known,
 *     and what follows it is next. When base offset and follower agree on a later offset, batches before it are missing.
 *     Several in a row with offsets that the log has had, where the log is written, are a stale copy and have no extent in it.
 *  3. Its header is plausible (magic 2, base offset E, epoch 0, records, a length). What lies exactly at P + length is next, when it
 *     is a batch or has the header of the one that must follow. Otherwise, when the CRC over [P + 21, Q) fits for a batch at
 *     Q that continues the offsets (or for the end of the file), only the length is damaged, and Q is next. Otherwise, when
 *     nothing but zeros lies from P + length on, this is a torn end. Otherwise the first anchored chain after P + length is
 *     next; or one that begins before and goes on beyond it, for then the length is not right.
 *  4. Its header is not plausible: the first anchored chain after it is next.
 *
 * A chain is one valid batch or several in a row. It is anchored when it ends as a segment does: with the file, in zeros, or
 * at the header of the batch that must follow it. Batches within a payload are followed by the rest of the payload. A chain
 * that is not anchored, between two places where the headers are damaged, may be either: rather than serve what may be a
 * part of a payload, it is given up as a part of the gap. So is one that lies within what looks like a batch that is not
 * whole. Where anchored chains contradict each other, as when a block was written to a wrong place, see `findChain`.
 * What a damaged place leads to counts only when a valid batch comes in the end: so torn batches in a row are a torn end.
 */
import type { DiskFile } from 'ratatoskr/ports'
import { baseOffsetOf, batchHeaderBytes, type Checksum, lengthPrefixBytes } from 'ratatoskr/ports'
import { type BatchHead, BatchProbe } from './batch-probe.ts'
import { scanBatches } from './batch-scan.ts'
import type { Place } from './segment-reader.ts'

/** A part of a segment that is lost to damage: by bytes and by offsets. One of the two may be empty. */
export interface Gap {
  readonly position: number
  readonly endPosition: number
  readonly offset: number
  readonly endOffset: number
}

/** A segment's file, and what its neighbours say of it. */
export interface ScanSource {
  readonly file: DiskFile
  readonly sizeBytes: number
  readonly checksum: Checksum
  readonly baseOffset: number
  /** Where the segment must end: the next one's base offset. Undefined when it may end torn. */
  readonly limitOffset: number | undefined
}

export interface SegmentScan {
  /** Where valid batches and gaps end: the end of the file, unless it is torn. */
  readonly end: Place
  readonly gaps: readonly Gap[]
  /** What is wrong with the bytes after `end`, which are a torn end; undefined when there are none. */
  readonly torn: string | undefined
}

/** Told of each valid batch: the bytes, where in them it begins, its position, and whether it is the first after a gap. */
export type OnBatch = (bytes: Uint8Array, at: number, position: number, afterGap: boolean) => void

/** Where a scan goes on. */
interface Next extends Place {
  /** The place follows a batch that is whole, or was, so that no crash tore it: offsets below this are taken. */
  readonly takenOffset?: number
}

/** Batches in a row. */
interface Chain {
  readonly start: Place
  readonly end: Place
}

/** More searching than this for a chain that is anchored is not worth it; and it bounds the time. */
const chainsMax = 64
const likelyBytesMax = 64 * 1024 * 1024
/** Anchored chains that are weighed against each other. */
const contradictionsMax = 16
const relativeOffsetMax = 0xffff_ffff
/** A base offset that is larger by more than this is damaged rather than right. */
const doubtfulOffsetsMax = 65_536
/** No batch has more records than its last offset delta can say. */
const recordsPerBatchMax = 2 ** 31

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
  const gaps: Gap[] = []
  const probe = new BatchProbe(file, sizeBytes, checksum)
  let place: Place = from
  let damage: (Place & { readonly problem: string }) | undefined
  let takenOffset: number | undefined
  for (;;) {
    const run = await scanBatches(file, place, sizeBytes, checksum, (bytes, at, position) => {
      const afterGap = damage !== undefined
      if (damage !== undefined) gaps.push(gapOf(damage, { position, offset: baseOffsetOf(bytes, at) }))
      damage = takenOffset = undefined
      onBatch(bytes, at, position, afterGap)
    })
    place = { position: run.endPosition, offset: run.endOffset }
    if (run.problem === undefined) break
    damage ??= { ...place, problem: run.problem }
    const next = await nextPlace(probe, source, place, damage.position)
    if (next === undefined) break
    place = next
    takenOffset = next.takenOffset ?? takenOffset
  }
  if (damage === undefined) return { end: place, gaps, torn: undefined }
  const endOffset =
    limitOffset ?? takenOffset ?? (damagedBefore || gaps.length > 0 ? damage.offset : undefined)
  if (endOffset === undefined || endOffset < damage.offset) {
    const { position, offset, problem } = damage
    return { end: { position, offset }, gaps, torn: problem }
  }
  const end = { position: sizeBytes, offset: endOffset }
  gaps.push(gapOf(damage, end))
  return { end, gaps, torn: undefined }
}

const gapOf = (from: Place, to: Place): Gap => ({
  position: from.position,
  endPosition: to.position,
  offset: from.offset,
  endOffset: to.offset,
})

/**
 * Where to go on after a batch that is not valid; undefined when nothing comes.
 * @param damagedFrom where the last valid batch before it ends
 */
async function nextPlace(
  probe: BatchProbe,
  source: ScanSource,
  at: Place,
  damagedFrom: number,
): Promise<Next | undefined> {
  const head = await probe.headAt(at.position)
  if (head === undefined || (await probe.isZeroFrom(at.position))) return undefined
  if (await probe.isWhole(head)) {
    // At the start of a file they say that the file is a copy of another.
    const foreignEnd = damagedFrom > 0 ? await endOfForeign(probe, source, at, head) : undefined
    if (foreignEnd !== undefined) return { position: foreignEnd, offset: at.offset }
    return afterWhole(probe, source, at, head)
  }
  if (isPlausible(head, at.offset)) return afterPlausible(probe, source, at, head)
  return (await findChain(probe, source, at, at.position + 1))?.start
}

/** Rule 2: the batch is whole, but it is not the one that must be here. */
async function afterWhole(
  probe: BatchProbe,
  source: ScanSource,
  at: Place,
  head: BatchHead,
): Promise<Next | undefined> {
  const follower = await probe.headAt(head.endPosition)
  const followerIsWhole = follower !== undefined && (await probe.isWhole(follower))
  const { limitOffset } = source
  if (head.baseOffset > at.offset && head.hasEpoch && admits(source, at, head)) {
    const isLast = head.endPosition === source.sizeBytes
    const agrees = followerIsWhole
      ? follower.baseOffset === head.nextOffset
      : limitOffset === undefined
        ? !differsInOneByte(head.baseOffset, at.offset)
        : isLast && limitOffset === head.nextOffset
    if (agrees && (await isChain(probe, source, at, at.position))) {
      return { position: at.position, offset: head.baseOffset }
    }
  }
  const position = head.endPosition
  if (followerIsWhole && follower.baseOffset >= at.offset && admits(source, at, follower)) {
    // A batch that was written to a wrong place ends anywhere, perhaps within a payload.
    const { baseOffset } = follower
    if (await isChain(probe, source, at, position)) return { position, offset: baseOffset }
  }
  const isCopy = head.baseOffset < at.offset && (await probe.isCopy(head, source.baseOffset))
  if (isCopy) return { position, offset: at.offset }
  const offset = Math.min(at.offset + head.records, limitOffset ?? Number.MAX_SAFE_INTEGER)
  if (head.baseOffset > at.offset && head.baseOffset - at.offset <= doubtfulOffsetsMax) {
    // It is not served, for its offset is in doubt. If that should be right after all, and nothing follows, it is taken.
    return { position, offset: at.offset, takenOffset: head.nextOffset }
  }
  // Zeros where the base offset must be are what a hole leaves that ends within the header.
  const isHole = head.baseOffset === 0 && at.offset !== 0
  return { position, offset, ...(!isHole && { takenOffset: offset }) }
}

/**
 * Where batches end that go on from each other, at the end of what is written, with offsets that the log has had: a stale copy
 * of others. No damage makes those of several batches in a row, so that they say nothing of offsets that were given out.
 */
async function endOfForeign(
  probe: BatchProbe,
  source: ScanSource,
  at: Place,
  { position, baseOffset: offset, endPosition, nextOffset, hasEpoch }: BatchHead,
): Promise<number | undefined> {
  if (source.limitOffset !== undefined || !hasEpoch || offset < 0 || offset >= at.offset) return undefined
  const follower = await probe.headAt(endPosition)
  // What goes on with the log belongs to it.
  if (follower?.baseOffset !== nextOffset || nextOffset === at.offset) return undefined
  const end = await endOfRun(source, { position, offset })
  return end.position > endPosition && end.offset <= at.offset ? end.position : undefined
}

/** Rule 3: the header is what it must be, as far as can be told, and the batch is not whole. */
async function afterPlausible(
  probe: BatchProbe,
  source: ScanSource,
  at: Place,
  head: BatchHead,
): Promise<Next | undefined> {
  const { endPosition: position, nextOffset } = head
  const follower = await probe.headAt(position)
  if (follower !== undefined && isPlausible(follower, nextOffset)) return { position, offset: nextOffset }
  const shortened = await probe.endByChecksum(head)
  if (shortened !== undefined) return { position: shortened, offset: nextOffset, takenOffset: nextOffset }
  if (follower !== undefined && (await probe.isWhole(follower))) {
    const { baseOffset } = follower
    const isLater = follower.hasEpoch && baseOffset > at.offset && admits(source, at, follower)
    if (!isLater) return { position, offset: nextOffset }
    if (await isChain(probe, source, at, position)) return { position, offset: baseOffset }
  }
  const { limitOffset, sizeBytes } = source
  // What was sealed was synced whole: a torn end is no explanation there.
  if (position >= sizeBytes && (limitOffset === undefined || position === sizeBytes)) return undefined
  if (position < sizeBytes && (await probe.isZeroFrom(position))) return undefined
  const inside = await findChain(probe, source, at, at.position + 1)
  if (inside === undefined || inside.start.position >= position || inside.end.position > position) {
    return inside?.start
  }
  return (await findChain(probe, source, at, at.position + 1, position))?.start
}

/**
 * The first chain of batches from a position on that counts, and begins at `startMin` or later. Blocks that were written to a wrong place make chains whose
 * offsets contradict each other: those count that together have the most bytes while their offsets rise, and more if they
 * lead on.
 */
async function findChain(
  probe: BatchProbe,
  source: ScanSource,
  at: Place,
  from: number,
  startMin = from,
): Promise<Chain | undefined> {
  const broken: BatchHead[] = []
  const chains: { readonly chain: Chain; weight: number }[] = []
  for (let position = from; chains.length < contradictionsMax; ) {
    const chain = await nextChain(probe, source, at, position, broken)
    if (chain === undefined) break
    position = chain.end.position
    if (chain.start.position < startMin) continue
    const bytes = chain.end.position - chain.start.position
    chains.push({ chain, weight: (await leadsOn(probe, source, chain)) ? bytes * 4 : bytes })
  }
  // From the last to the first: the best that can follow each.
  let best = -1
  for (let i = chains.length - 1; i >= 0; i--) {
    let after = 0
    for (let j = i + 1; j < chains.length; j++) {
      const fits = chains[j].chain.start.offset >= chains[i].chain.end.offset
      if (fits && chains[j].weight > after) after = chains[j].weight
    }
    chains[i].weight += after
    if (best === -1 || chains[i].weight >= chains[best].weight) best = i
  }
  return chains[best]?.chain
}

/** True when a chain ends with the file, or the header at its end leads to the one of the batch after that. */
async function leadsOn(probe: BatchProbe, { sizeBytes }: ScanSource, { end }: Chain): Promise<boolean> {
  const head = await probe.headAt(end.position)
  if (head === undefined || !isPlausible(head, end.offset)) return end.position === sizeBytes
  const follower = await probe.headAt(head.endPosition)
  return head.endPosition === sizeBytes || (follower !== undefined && isPlausible(follower, head.nextOffset))
}

/** The next anchored chain. @param broken headers so far of batches that are not whole; more are added */
async function nextChain(
  probe: BatchProbe,
  source: ScanSource,
  at: Place,
  from: number,
  broken: BatchHead[],
): Promise<Chain | undefined> {
  const { limitOffset } = source
  let position = from
  for (let count = 0; count < chainsMax; count++) {
    const head = await probe.findBatch(
      position,
      (candidate) => admits(source, at, candidate),
      (one) => {
        // The header that is damaged may look like one when it is read a few bytes off.
        if (one.position >= at.position + batchHeaderBytes) broken.push(one)
      },
    )
    if (head === undefined) return undefined
    const start = { position: head.position, offset: head.baseOffset }
    const end = await endOfRun(source, start)
    const fits = limitOffset === undefined || end.offset <= limitOffset
    // What lies within a batch that is not whole, or most of it does, may be of its payload.
    const middle = (start.position + end.position) / 2
    const isWithin = broken.some((one) => one.endPosition > middle && isLikely(one))
    if (fits && !isWithin && (await isAnchored(probe, source, end))) return { start, end }
    position = end.position
  }
  return undefined
}

/** True when the chain that counts begins right at a position. */
async function isChain(probe: BatchProbe, source: ScanSource, at: Place, position: number): Promise<boolean> {
  return (await findChain(probe, source, at, position))?.start.position === position
}

/** Where the valid batches in a row end that begin at a place. */
async function endOfRun({ file, sizeBytes, checksum }: ScanSource, start: Place): Promise<Place> {
  const { endPosition, endOffset } = await scanBatches(file, start, sizeBytes, checksum, () => undefined)
  return { position: endPosition, offset: endOffset }
}

/** True when a segment may end there, or goes on there with the batch that must follow. */
async function isAnchored(probe: BatchProbe, source: ScanSource, end: Place): Promise<boolean> {
  const { sizeBytes, limitOffset } = source
  const head = await probe.headAt(end.position)
  if (head !== undefined && resemblesHeader(head, end.offset)) return true
  if (limitOffset !== undefined && end.offset !== limitOffset) return false
  if (end.position === sizeBytes) return true
  // A few zeros end many a payload: only where a header should be do they tell.
  return head === undefined
    ? probe.beginsWithOffset(end.position, end.offset)
    : probe.isZeroFrom(end.position)
}

const isPlausible = (head: BatchHead, offset: number): boolean =>
  head.hasMagic &&
  head.hasEpoch &&
  head.baseOffset === offset &&
  head.records >= 1 &&
  head.endPosition - head.position >= batchHeaderBytes &&
  head.endPosition - head.position < recordsPerBatchMax + lengthPrefixBytes

/** False for a length that no batch has in practice: of a header that is none. */
const isLikely = ({ position, endPosition, records }: BatchHead): boolean =>
  records >= 1 && endPosition - position <= likelyBytesMax

/** True for a header with little damage: two of the three things that are known of it before are right. */
const resemblesHeader = (head: BatchHead, offset: number): boolean =>
  Number(head.hasMagic) + Number(head.hasEpoch) + Number(head.baseOffset === offset) >= 2

/** True when a valid batch may come after a damaged place: no offset twice, none beyond what can lie between. */
function admits({ baseOffset, limitOffset }: ScanSource, at: Place, head: BatchHead): boolean {
  const between = Math.max(1, Math.floor((head.position - at.position) / batchHeaderBytes))
  // Offset 0 is the first in a log; anywhere else it is the zeros of a hole that ends within the header.
  if (head.baseOffset === 0 && head.position > 0) return false
  return (
    head.baseOffset >= at.offset &&
    head.baseOffset - at.offset <= between * recordsPerBatchMax &&
    head.nextOffset - baseOffset <= relativeOffsetMax &&
    head.nextOffset <= (limitOffset ?? Number.MAX_SAFE_INTEGER)
  )
}

/** True when one damaged byte can have made one offset of the other. */
function differsInOneByte(one: number, other: number): boolean {
  const difference = BigInt(one) ^ BigInt(other)
  let byte = 0xffn
  while (byte < difference && (difference & ~byte) !== 0n) byte <<= 8n
  return (difference & ~byte) === 0n
}

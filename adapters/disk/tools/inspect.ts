/** Looks into one file of batches without owning it: what `ratatoskr log dump` is made of. Only reads. */
import { basename, dirname } from 'node:path'
import {
  baseOffsetOf,
  batchHeaderBytes,
  batchSizeOf,
  type Checksum,
  type DiskFile,
  nextOffsetOf,
  type PlannedChange,
  RatatoskrError,
  RecordCursor,
} from 'ratatoskr/ports'
import { systemCodeOf } from '../files/file-system.ts'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { BatchProbe } from '../log/batch-probe.ts'
import { Window } from '../log/batch-scan.ts'
import type { Gap, Place } from '../log/place.ts'
import { baseOffsetOfName } from '../log/segment-path.ts'
import { scanSegment } from '../log/segment-scan.ts'
import { changesOf } from '../state/state-change.ts'

/** One thing that a file of batches holds, in order of positions. */
export type DumpedPart =
  | { readonly kind: 'batch'; readonly bytes: Uint8Array; readonly at: number; readonly position: number }
  /** Damage; what comes next is valid again. */
  | ({ readonly kind: 'gap' } & Gap)
  /** The half of a batch at the end, as a crash leaves it. */
  | ({ readonly kind: 'torn'; readonly problem: string } & Place)

/** What a file is by its name: also when it lies in quarantine, where names are longer. */
interface BatchFileName {
  /** `end`: what was cut off a segment. */
  readonly kind: 'segment' | 'state' | 'end'
  /** Offset of the first batch; of an end that was cut off, of the segment's. */
  readonly baseOffset: number
}

/** @throws RTK_INVALID_ARGUMENT for a name that no file of batches has */
export function batchFileNameOf(path: string): BatchFileName {
  const [, digits, ending, cut] = /(\d{20})\.(log|copy)(\.cut-at-\d+)?(?:\.\d+)?$/.exec(basename(path)) ?? []
  if (digits === undefined) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `a segment file is named by 20 digits and .log, a state file by 20 digits and .log or .copy; got ${JSON.stringify(basename(path))}`,
    )
  }
  if (ending === 'copy' || basename(dirname(path)) === 'state') return { kind: 'state', baseOffset: 0 }
  return { kind: cut === undefined ? 'segment' : 'end', baseOffset: Number(digits) }
}

/**
 * Everything in a segment or state file, going on after damage.
 * @param offsets records before `from` and from `to` on are left out, in whole batches
 * @throws RTK_INVALID_ARGUMENT, RTK_STORE_UNREADABLE
 */
export async function* dumpBatches(
  path: string,
  checksum: Checksum,
  { from = 0, to = Number.MAX_SAFE_INTEGER }: { readonly from?: number; readonly to?: number } = {},
): AsyncGenerator<DumpedPart, void, undefined> {
  const { kind, baseOffset: ownBase } = batchFileNameOf(path)
  const file = await openToRead(path)
  try {
    const sizeBytes = await file.size()
    const limitOffset = kind === 'segment' ? await baseOfNext(path) : undefined
    // The first whole batch of an end says where it begins.
    const first =
      kind === 'end' ? await new BatchProbe(file, sizeBytes, checksum).findBatch(0, () => true) : undefined
    const start = { position: first?.position ?? 0, offset: first?.baseOffset ?? ownBase }
    const source = { file, sizeBytes, checksum, baseOffset: start.offset, limitOffset }
    const { gaps, end, torn } = await scanSegment(source, start, false, () => {})
    const window = new Window(file, sizeBytes)
    let { position } = start
    if (position > 0) {
      const { offset } = start
      yield { kind: 'gap', position: 0, endPosition: position, offset, endOffset: offset }
    }
    for (const gap of gaps) {
      yield* batchesIn(window, position, gap.position, { from, to })
      if (gap.endOffset > from && gap.offset < to) yield { kind: 'gap', ...gap }
      position = gap.endPosition
    }
    yield* batchesIn(window, position, end.position, { from, to })
    if (torn !== undefined && end.offset < to) yield { kind: 'torn', ...end, problem: torn }
  } catch (cause) {
    throw unreadable(cause)
  } finally {
    await file.close()
  }
}

/** The changes of a state file's batch, as `dumpBatches` gives it. */
export const dumpedChanges = (bytes: Uint8Array, at: number): PlannedChange[] =>
  changesOf(new RecordCursor(), bytes, at)

/** Batches between two places, which were found to be valid. */
async function* batchesIn(
  window: Window,
  start: number,
  end: number,
  { from, to }: { readonly from: number; readonly to: number },
): AsyncGenerator<DumpedPart, void, undefined> {
  let position = start
  while (position < end) {
    await window.hold(position, batchHeaderBytes)
    const sizeBytes = batchSizeOf(window.bytes, position - window.start)
    await window.hold(position, sizeBytes)
    const at = position - window.start
    const nextOffset = nextOffsetOf(window.bytes, at)
    if (baseOffsetOf(window.bytes, at) >= to) return
    if (nextOffset > from) yield { kind: 'batch', bytes: window.bytes, at, position }
    position += sizeBytes
  }
}

async function openToRead(path: string): Promise<DiskFile> {
  try {
    return await nodeFileSystem.open(path, 'read')
  } catch (cause) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `the file cannot be read (${systemCodeOf(cause) ?? 'unknown reason'})`,
      { cause },
    )
  }
}

/** Base offset of the segment after this one, where this one must end; undefined when it is the last, or stands alone. */
async function baseOfNext(path: string): Promise<number | undefined> {
  const own = baseOffsetOfName(basename(path))
  if (own === undefined) return undefined
  const bases = (await nodeFileSystem.list(dirname(path))).map((name) => baseOffsetOfName(name) ?? -1)
  const later = bases.filter((base) => base > own)
  return later.length === 0 ? undefined : Math.min(...later)
}

const unreadable = (cause: unknown): RatatoskrError =>
  new RatatoskrError(
    'RTK_STORE_UNREADABLE',
    `the disk failed to read the file (${systemCodeOf(cause) ?? 'unknown reason'}); check the disk`,
    { cause },
  )

/** Looks into a data directory without owning it: what `ratatoskr log verify` and `log dump` are made of. Only reads. */
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Checksum, RatatoskrError, recordCountOf } from 'ratatoskr/ports'
import { findBatchAfter, scanBatches } from './batch-scan.ts'
import { nodeFileSystem } from './node-file-system.ts'

/** What is in one file of batches. */
export interface FileReport {
  /** Path below the data directory. */
  readonly file: string
  readonly sizeBytes: number
  readonly batches: number
  readonly records: number
  /**
   * `torn`: the end is half-written, as a crash leaves it; starting the broker cuts it off and loses nothing that was
   * acknowledged. `damaged`: valid batches follow, so that this is no torn end.
   */
  readonly state: 'ok' | 'torn' | 'damaged'
  readonly problem?: string
  /** Where the valid batches end: position in the file, and the offset that is missing. */
  readonly position?: number
  readonly offset?: number
}

const segmentName = /^(\d{20})\.log$/

/** Calls `onBatch` for each valid batch of a segment file. @returns what was found */
export async function inspectSegment(
  path: string,
  checksum: Checksum,
  onBatch: (bytes: Uint8Array, at: number, position: number) => void = () => {},
): Promise<Omit<FileReport, 'file'>> {
  const digits = segmentName.exec(basename(path))?.[1]
  if (digits === undefined) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `a segment file is named by 20 digits and .log, got ${JSON.stringify(basename(path))}`,
    )
  }
  const file = await nodeFileSystem.open(path, 'read').catch((cause: NodeJS.ErrnoException) => {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `the file cannot be read (${cause.code ?? 'unknown reason'})`,
      { cause },
    )
  })
  try {
    const sizeBytes = await file.size()
    const counts = { batches: 0, records: 0 }
    const result = await scanBatches(
      file,
      { position: 0, offset: Number(digits) },
      sizeBytes,
      checksum,
      (bytes, at, position) => {
        counts.batches++
        counts.records += recordCountOf(bytes, at)
        onBatch(bytes, at, position)
      },
    )
    const { problem, endPosition: position, endOffset: offset } = result
    if (problem === undefined) return { sizeBytes, ...counts, state: 'ok' }
    const follows = await findBatchAfter(file, { position, offset }, sizeBytes, checksum)
    return {
      sizeBytes,
      ...counts,
      state: follows === undefined ? 'torn' : 'damaged',
      problem,
      position,
      offset,
    }
  } finally {
    await file.close()
  }
}

/**
 * Checks every segment of a data directory, one after the other.
 * @throws RTK_INVALID_ARGUMENT when it is no data directory
 */
export async function* verifyDataDirectory(
  directory: string,
  checksum: Checksum,
): AsyncGenerator<FileReport, void, undefined> {
  const logs = join(directory, 'logs')
  for (const topic of await list(logs, directory)) {
    for (const partition of await list(join(logs, topic), directory)) {
      const folder = join(logs, topic, partition)
      const segments = (await list(folder, directory)).filter((name) => segmentName.test(name)).sort()
      let expected: number | undefined
      for (const [i, name] of segments.entries()) {
        const base = Number(name.slice(0, 20))
        const report = await inspectSegment(join(folder, name), checksum)
        const gap =
          expected !== undefined && base !== expected
            ? `the segment before ends at offset ${expected}`
            : undefined
        // Only the last segment was being written when a crash came: a torn end before it is damage.
        const state =
          gap !== undefined || (report.state === 'torn' && i < segments.length - 1) ? 'damaged' : report.state
        yield {
          file: join('logs', topic, partition, name),
          ...report,
          state,
          ...(gap !== undefined && { problem: gap }),
        }
        expected = base + report.records
      }
    }
  }
}

async function list(folder: string, directory: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (cause) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `${JSON.stringify(basename(directory))} is no data directory of Ratatoskr: it has no logs in it`,
      { cause },
    )
  }
}

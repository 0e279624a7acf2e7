/** The changes of files that a repair makes. Each keeps what it takes away, in `quarantine/`, and is synced when it returns. */
import { basename, dirname } from 'node:path'
import {
  baseOffsetOf,
  type Checksum,
  type DiskFile,
  type FileSystem,
  maxTimestampOf,
  SparseIndex,
} from 'ratatoskr/ports'
import { allocate, writeAll } from '../files/file-system.ts'
import { type CleanNote, encodeClean, writeCleanFile } from '../log/clean-file.ts'
import { encodeIndex, writeIndexFile } from '../log/index-file.ts'
import type { Gap } from '../log/place.ts'
import { scanSegment } from '../log/segment-scan.ts'
import type { SegmentReport } from './inspect-log.ts'
import { lossBlocks, lossMark, lostSegmentBytes } from './repair-loss.ts'

const blockBytes = 1024 * 1024

export class RepairFiles {
  readonly #fileSystem: FileSystem
  readonly #directory: string
  readonly #checksum: Checksum
  readonly #keptNotes: CleanNote
  #begun = false

  /** @param keptNotes what stays of the note of a clean stop when something is changed */
  constructor(fileSystem: FileSystem, directory: string, checksum: Checksum, keptNotes: CleanNote) {
    this.#fileSystem = fileSystem
    this.#directory = directory
    this.#checksum = checksum
    this.#keptNotes = keptNotes
  }

  /** Moves a segment with its index to quarantine. */
  async setAside(path: string): Promise<void> {
    await this.#begin()
    const index = path.replace(/log$/, 'index')
    const hasIndex = (await this.#fileSystem.list(dirname(path))).includes(basename(index))
    for (const file of hasIndex ? [index, path] : [path]) {
      await this.#fileSystem.rename(file, await this.#freePath(file, ''))
    }
    await this.#syncDirectories(path)
  }

  /** Cuts a file, and keeps what is cut off. */
  async cutEnd(path: string, sizeBytes: number): Promise<void> {
    await this.#begin()
    await this.#withFile(path, 'write', async (file) => {
      const kept = await this.#freePath(path, `.cut-at-${sizeBytes}`)
      await this.#copy(file, { position: sizeBytes, endPosition: await file.size() }, kept)
      await this.#syncDirectories(path)
      await file.truncate(sizeBytes)
      await file.sync()
    })
  }

  /**
   * Writes into the place of what is lost that it is; the damaged file goes to quarantine.
   * @returns false, with nothing changed, when the file would then be read otherwise
   */
  async declareLost(
    segment: SegmentReport,
    gaps: readonly Gap[],
    limitOffset: number | undefined,
  ): Promise<boolean> {
    await this.#begin()
    const { path, sizeBytes } = segment
    const next = `${path}.tmp`
    await this.#withFile(path, 'read', (file) =>
      this.#copy(file, { position: 0, endPosition: sizeBytes }, next),
    )
    const giveUp = async (error: unknown): Promise<never> => {
      await this.#fileSystem.remove(next).catch(() => undefined)
      throw error
    }
    const isSame = await this.#withFile(next, 'write', async (file) => {
      for (const gap of gaps) {
        // A file that ends early gets a place for it.
        const isAtEnd = gap.position === gap.endPosition && gap.position === sizeBytes
        const endPosition = isAtEnd ? sizeBytes + lostSegmentBytes : gap.endPosition
        for (const { position, bytes } of lossBlocks({ ...gap, endPosition }))
          await writeAll(file, bytes, position)
      }
      await file.sync()
      const source = { file, sizeBytes: await file.size(), checksum: this.#checksum, limitOffset }
      const from = { position: 0, offset: segment.baseOffset }
      const scan = await scanSegment({ ...source, baseOffset: segment.baseOffset }, from, false, () => {})
      return scan.torn === undefined && offsetsOf(scan.gaps) === offsetsOf(segment.gaps)
    }).catch(giveUp)
    if (!isSame) {
      await this.#fileSystem.remove(next)
      return false
    }
    const kept = await this.#freePath(path, '')
    await this.#withFile(path, 'read', (file) =>
      this.#copy(file, { position: 0, endPosition: sizeBytes }, kept),
    ).catch(giveUp)
    await this.#syncDirectories(path)
    await this.#fileSystem.rename(next, path)
    await this.#fileSystem.syncDirectory(dirname(path))
    return true
  }

  /** Puts a file in the place of a segment that is missing. */
  async standIn(folder: string, baseOffset: number): Promise<void> {
    await this.#begin()
    const path = `${folder}/${String(baseOffset).padStart(20, '0')}.log`
    const file = await this.#fileSystem.open(`${path}.tmp`, 'create')
    try {
      await writeAll(file, lossMark(lostSegmentBytes), 0)
      await file.sync()
    } catch (error) {
      await this.#fileSystem.remove(`${path}.tmp`).catch(() => undefined)
      throw error
    } finally {
      await file.close()
    }
    await this.#fileSystem.rename(`${path}.tmp`, path)
    await this.#fileSystem.syncDirectory(folder)
  }

  /** Makes segments without content, from the last to the first: a crash on the way never leaves a log that ends too early. */
  async addEmptySegments(folder: string, baseOffsets: readonly number[]): Promise<void> {
    await this.#begin()
    await this.#fileSystem.makeDirectory(folder)
    for (const one of [dirname(dirname(folder)), dirname(folder)]) await this.#fileSystem.syncDirectory(one)
    for (const baseOffset of baseOffsets.toReversed()) {
      const path = `${folder}/${String(baseOffset).padStart(20, '0')}.log`
      const file = await this.#fileSystem.open(path, 'create')
      await file.sync().finally(() => file.close())
      await this.#fileSystem.syncDirectory(folder)
    }
  }

  /** Makes the index of a segment anew. */
  async writeIndex(segment: SegmentReport, limitOffset: number | undefined): Promise<void> {
    await this.#begin()
    const { path, baseOffset } = segment
    const index = new SparseIndex()
    let maxTimestampMs = -1
    await this.#withFile(path, 'write', async (file) => {
      await file.sync()
      const source = { file, sizeBytes: await file.size(), checksum: this.#checksum, baseOffset, limitOffset }
      await scanSegment(
        source,
        { position: 0, offset: baseOffset },
        false,
        (bytes, at, position, afterGap) => {
          const timestampMs = maxTimestampOf(bytes, at)
          const relativeOffset = baseOffsetOf(bytes, at) - baseOffset
          if (afterGap) index.addEntry(relativeOffset, position, timestampMs)
          else index.add(relativeOffset, position, timestampMs)
          maxTimestampMs = Math.max(maxTimestampMs, timestampMs)
        },
      )
    })
    // What the end of the file has lost, only the present index tells.
    const { endOffset, validBytes: sizeBytes, gaps } = segment
    const summary = { baseOffset, endOffset, sizeBytes, maxTimestampMs, gaps }
    await writeIndexFile(
      this.#fileSystem,
      path.replace(/log$/, 'index'),
      encodeIndex(summary, index, this.#checksum),
    )
  }

  /** Puts another note of a clean stop in place of the one that is there. */
  writeNote(note: CleanNote): Promise<void> {
    return writeCleanFile(this.#fileSystem, this.#directory, encodeClean(note, this.#checksum))
  }

  /** Before the first change: what a stop in order wrote about the files is true no more. */
  async #begin(): Promise<void> {
    if (this.#begun) return
    if (this.#keptNotes.logs.size > 0 || this.#keptNotes.state !== undefined) {
      await this.writeNote(this.#keptNotes)
    } else {
      await this.#fileSystem.remove(`${this.#directory}/clean`)
      await this.#fileSystem.syncDirectory(this.#directory)
    }
    this.#begun = true
  }

  /** A name in quarantine that is free: `<topic id>-<partition>-<name>`. */
  async #freePath(path: string, ending: string): Promise<string> {
    const quarantine = `${this.#directory}/quarantine`
    await this.#fileSystem.makeDirectory(quarantine)
    const taken = new Set(await this.#fileSystem.list(quarantine))
    const [topicId, partition, file] = path.split('/').slice(-3)
    const name = `${topicId}-${partition}-${file}${ending}`
    let free = name
    for (let copy = 2; taken.has(free); copy++) free = `${name}.${copy}`
    return `${quarantine}/${free}`
  }

  async #syncDirectories(path: string): Promise<void> {
    for (const one of [`${this.#directory}/quarantine`, this.#directory, dirname(path)]) {
      await this.#fileSystem.syncDirectory(one)
    }
  }

  async #copy(
    from: DiskFile,
    { position: start, endPosition }: { readonly position: number; readonly endPosition: number },
    to: string,
  ): Promise<void> {
    const file = await this.#fileSystem.open(to, 'create')
    try {
      for (let position = start; position < endPosition; position += blockBytes) {
        const block = allocate(Math.min(blockBytes, endPosition - position))
        const read = await from.read(block, position)
        await writeAll(file, block.subarray(0, read), position - start)
      }
      await file.sync()
    } catch (error) {
      // Half of a copy is of no use to anybody, and takes the room that there is.
      await this.#fileSystem.remove(to).catch(() => undefined)
      throw error
    } finally {
      await file.close()
    }
  }

  async #withFile<T>(path: string, mode: 'read' | 'write', use: (file: DiskFile) => Promise<T>): Promise<T> {
    const file = await this.#fileSystem.open(path, mode)
    try {
      return await use(file)
    } finally {
      await file.close()
    }
  }
}

const offsetsOf = (gaps: readonly Gap[]): string =>
  gaps.map(({ offset, endOffset }) => `${offset}-${endOffset}`).join()

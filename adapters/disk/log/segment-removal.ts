/**
 * The removal of a log's segments, and of the end of one. Those that the log lets go of at its start are removed beside everything else: nobody
 * looks at them any more, and appends would wait for as long as the disk takes to give back their blocks.
 */
import type { Segment } from './segment.ts'
import type { StoreContext } from './store-context.ts'
import { storeFailed } from './store-errors.ts'

export class SegmentRemoval {
  readonly #context: StoreContext
  readonly #directory: string
  readonly #key: string
  /** Dropped from the start of the log, in order, but their files are still there. */
  readonly #gone: Segment[] = []
  #running: Promise<void> = Promise.resolve()

  /** @param key `<topic id>/<partition>` */
  constructor(context: StoreContext, directory: string, key: string) {
    this.#context = context
    this.#directory = directory
    this.#key = key
  }

  /** Takes segments that were dropped from the start of the log, in order. */
  add(gone: readonly Segment[]): void {
    this.#gone.push(...gone)
  }

  /**
   * Removes what was added, the oldest first and what failed before among it: a crash never leaves a hole in the log.
   * @throws RTK_STORE_FAILED
   */
  run(): Promise<void> {
    const run = this.#running.then(async () => {
      for (let next = this.#gone[0]; next !== undefined; next = this.#gone[0]) {
        await this.remove(next)
        this.#gone.shift()
      }
    })
    this.#running = run.catch(() => undefined)
    return run.catch((error: unknown) => {
      throw storeFailed(error)
    })
  }

  /** Settles when nothing is being removed any more. */
  idle(): Promise<void> {
    return this.#running
  }

  /** Removes a segment for good. @throws what the system gave */
  async remove(segment: Segment): Promise<void> {
    const { fileSystem, files, indexes, quarantine } = this.#context
    indexes.forget(segment)
    await files.discard(segment.path)
    await segment.removeIndex()
    // An index without its segment tells of a loss.
    await fileSystem.syncDirectory(this.#directory)
    if (segment.gaps.length > 0) await quarantine.take(segment.path, this.#key)
    else await fileSystem.remove(segment.path)
    await fileSystem.syncDirectory(this.#directory)
  }

  /** Cuts a segment's file off for good. @throws what the system gave */
  async cut(segment: Segment, sizeBytes: number): Promise<void> {
    const { files } = this.#context
    const file = await files.acquire(segment.path, 'write')
    try {
      await file.file.truncate(sizeBytes)
      await file.file.sync()
      file.dirty = false
    } catch (error) {
      files.poison(file)
      throw error
    } finally {
      files.release(file)
    }
  }
}

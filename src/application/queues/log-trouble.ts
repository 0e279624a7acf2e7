/** Reads of a queue partition that fail: what is lost is told of once, and what may come back is tried again after pauses. */
import type { Clock, Logger, OffsetRange } from '../../ports/index.ts'
import { toRatatoskrError } from '../../ports/index.ts'
import { nextReadable } from '../gaps.ts'
import type { ReadablePartition } from '../seams.ts'

/** Pause before reading again what could not be read; doubles up to the longest. */
const pauseMsMin = 50
const pauseMsMax = 5_000

interface TroubleHost {
  readonly clock: Clock
  readonly logger: Logger
  readonly topic: { readonly text: string }
  readonly group: string
  gap(partition: number, gap: OffsetRange): void
}

export class LogTrouble {
  readonly #log: ReadablePartition
  readonly #host: TroubleHost
  readonly #again: () => void
  #pauseMs = pauseMsMin
  #timer: Disposable | undefined
  #startOffset = 0
  #told = false

  /** @param again called after each pause */
  constructor(log: ReadablePartition, host: TroubleHost, again: () => void) {
    this.#log = log
    this.#host = host
    this.#again = again
  }

  /** True while nothing is to be tried. */
  get pausing(): boolean {
    return this.#timer !== undefined
  }

  /** It went well. */
  over(): void {
    this.#pauseMs = pauseMsMin
    this.#told = false
  }

  /** Tries again after a while. */
  pause(): void {
    if (this.#timer !== undefined) return
    this.#timer = this.#host.clock.after(this.#pauseMs, () => {
      this.#timer = undefined
      this.#again()
    })
    this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMsMax)
  }

  /**
   * A read at `offset` failed.
   * @returns up to where there is nothing to be had any more; undefined when it is tried again after a pause
   */
  failed(offset: number, thrown: unknown): number | undefined {
    const { startOffset, state } = this.#log
    if (offset < startOffset) return startOffset
    const next = nextReadable(thrown, offset)
    if (next !== undefined) {
      this.#host.gap(this.#log.index, { from: offset, to: next })
      return next
    }
    if (state === 'online' && !this.#told) {
      this.#told = true
      this.#host.logger.warn('a partition could not be read for a queue group; trying again', {
        topic: this.#host.topic.text,
        group: this.#host.group,
        partition: this.#log.index,
        offset,
        error: toRatatoskrError(thrown),
      })
    }
    this.pause()
    return undefined
  }

  /** True when retention has moved the start since this was asked last. */
  startMoved(startOffset: number): boolean {
    const moved = startOffset > this.#startOffset
    this.#startOffset = startOffset
    return moved
  }

  close(): void {
    this.#timer?.[Symbol.dispose]()
  }
}

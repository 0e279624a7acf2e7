/**
 * Commits a group's offsets: acknowledgements of some time, or some number of them, go in one request. What a lost
 * connection kept from being committed is committed after it is back.
 */
import {
  type Clock,
  type CommittedOffset,
  isRatatoskrError,
  type RatatoskrError,
  toRatatoskrError,
} from '../ports/index.ts'
import { delay } from './call.ts'

/** One partition whose offset is to be committed. */
export interface CommitSource {
  readonly partition: number
  /** Everything below is done. */
  readonly watermark: number
  /** What was committed last. */
  committedOffset: number
  /** True when the partition is no longer this member's. */
  readonly over: boolean
}

export interface CommitterOptions {
  readonly clock: Clock
  /** How long an acknowledgement waits to be committed, in milliseconds. */
  readonly intervalMs: number
  /** Acknowledgements after which there is no waiting. */
  readonly ackCountMax: number
  readonly commit: (offsets: readonly CommittedOffset[]) => Promise<void>
  /** Told of a commit that failed and is not tried again. */
  readonly failed: (error: RatatoskrError) => void
}

export class Committer {
  readonly #options: CommitterOptions
  readonly #dirty = new Set<CommitSource>()
  #ackCount = 0
  #timer: Disposable | undefined
  #running: Promise<void> | undefined
  #stopped = false

  constructor(options: CommitterOptions) {
    this.#options = options
  }

  /** The source's watermark rose. */
  mark(source: CommitSource): void {
    this.#dirty.add(source)
    if (++this.#ackCount >= this.#options.ackCountMax && this.#running === undefined) this.#soon(0)
    else if (this.#timer === undefined) this.#soon(this.#options.intervalMs)
  }

  /** Commits what is acknowledged now. @throws what the commit threw; what may pass stays to be committed later */
  async flush(): Promise<void> {
    await this.#running?.catch(() => {})
    if (this.#dirty.size > 0) await this.#round()
  }

  /** Commits the last acknowledgements, trying again until `signal` fires, and stops. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopTimer()
    try {
      while (!(await this.#flushed())) {
        await delay(this.#options.clock, 100, signal, 'committing the last offsets')
      }
    } catch (error) {
      this.#options.failed(toRatatoskrError(error))
    } finally {
      this.cancel()
    }
  }

  /** Commits nothing more. */
  cancel(): void {
    this.#stopTimer()
    this.#dirty.clear()
  }

  #stopTimer(): void {
    this.#stopped = true
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  /** @returns false when it failed for a reason that may pass */
  async #flushed(): Promise<boolean> {
    try {
      await this.flush()
      return true
    } catch (error) {
      if (toRatatoskrError(error).retryable) return false
      throw error
    }
  }

  #soon(delayMs: number): void {
    if (this.#stopped) return
    this.#timer?.[Symbol.dispose]()
    if (delayMs === 0) {
      this.#timer = undefined
      this.#background()
      return
    }
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#timer = undefined
      this.#background()
    })
  }

  #background(): void {
    if (this.#running !== undefined || this.#dirty.size === 0) return
    this.#round().catch((error: unknown) => {
      const failure = toRatatoskrError(error)
      if (failure.retryable) this.#soon(this.#options.intervalMs)
      else this.#options.failed(failure)
    })
  }

  /** One request at a time, so that a late one cannot take an offset back. */
  #round(): Promise<void> {
    const round = this.#commitDirty().finally(() => {
      if (this.#running === round) this.#running = undefined
      // The timer of what was acknowledged meanwhile may have come and gone.
      if (this.#dirty.size > 0 && this.#timer === undefined) this.#soon(this.#options.intervalMs)
    })
    this.#running = round
    return round
  }

  async #commitDirty(): Promise<void> {
    const sources = [...this.#dirty].filter((one) => !one.over && one.watermark > one.committedOffset)
    this.#dirty.clear()
    this.#ackCount = 0
    if (sources.length === 0) return
    try {
      await this.#commit(sources)
    } catch (error) {
      if (isRatatoskrError(error, 'RTK_LEASE_LOST')) await this.#commitEach(sources)
      else {
        if (toRatatoskrError(error).retryable) for (const source of sources) this.#dirty.add(source)
        throw error
      }
    }
  }

  /** One of the partitions is not ours any more: that takes nothing from the others. */
  async #commitEach(sources: readonly CommitSource[]): Promise<void> {
    for (const source of sources) {
      try {
        if (!source.over) await this.#commit([source])
      } catch (error) {
        if (!isRatatoskrError(error, 'RTK_LEASE_LOST')) {
          this.#dirty.add(source)
          throw error
        }
      }
    }
  }

  async #commit(sources: readonly CommitSource[]): Promise<void> {
    const offsets = sources.map(({ partition, watermark }) => ({ partition, offset: watermark }))
    await this.#options.commit(offsets)
    for (const [index, source] of sources.entries()) {
      source.committedOffset = Math.max(source.committedOffset, offsets[index].offset)
    }
  }
}

/**
 * One partition as its cursors see it together: a single wake for all who wait at its end, and a read shared by those
 * who stand at the same place. Ten thousand subscribers at the end of a topic are one registration with the partition
 * and, when a batch comes, one read.
 */
import type { BatchBytes, BatchDelivery, Clock, MaybePromise, OffsetRange } from '../../ports/index.ts'
import { endOffsetOf, giveBackBytes, isRatatoskrError, letEscape } from '../../ports/index.ts'
import { nextReadable } from '../gaps.ts'
import { handledElsewhere, isPromise } from '../maybe-promise.ts'
import type { ReadablePartition } from '../seams.ts'
import type { Cursor } from './cursor.ts'

/** Pause before reading again what could not be read; doubles up to the second. */
const retryMsMin = 50
const retryMsMax = 5_000

interface SharedRead {
  readonly offset: number
  readonly bytesMax: number
  readonly found: MaybePromise<BatchDelivery>
  /** The end of the partition, when it was read up to there: then more is found as soon as more has come. */
  readonly end: number | undefined
}

/** What a feed tells of. */
export interface FeedHost {
  readonly clock: Clock
  /** It has read, so that `dropShared` is called when that is no longer of use. */
  onRead(feed: PartitionFeed): void
  /** Records are lost to damage: told once for each gap. */
  onGap(partition: number, gap: OffsetRange): void
  /** A cursor was moved over lost records. */
  onSkipped(records: number): void
  /** The medium fails to give what is at an offset: told once until something can be read again. */
  onUnreadable(partition: number, offset: number, error: unknown): void
}

export class PartitionFeed {
  readonly partition: ReadablePartition
  readonly #host: FeedHost
  /** Where the gaps end that were told of. */
  readonly #gapEnds = new Set<number>()
  #unreadable = false
  readonly #waiting: Cursor[] = []
  #registration: Disposable | undefined
  #retryTimer: Disposable | undefined
  #retryMs = retryMsMin
  #shared: SharedRead | undefined
  /** Bytes of `#shared` that are to be given back. */
  #lent: BatchBytes | undefined

  constructor(partition: ReadablePartition, host: FeedHost) {
    this.partition = partition
    this.#host = host
  }

  /** Wakes `cursor` once, when the partition has changed. */
  wait(cursor: Cursor): void {
    if (cursor.waitIndex !== -1) return
    cursor.waitIndex = this.#waiting.push(cursor) - 1
    this.#registration ??= this.partition.onceChanged(this.#wake)
  }

  /** The same after a read that failed, or gave nothing: also when nothing changes, after a pause. */
  waitAfterFailure(cursor: Cursor, error?: unknown): void {
    if (!this.#unreadable && isRatatoskrError(error, 'RTK_STORE_UNREADABLE')) {
      this.#unreadable = true
      this.#host.onUnreadable(this.partition.index, cursor.offset, error)
    }
    this.wait(cursor)
    if (this.#retryTimer !== undefined) return
    this.#retryTimer = this.#host.clock.after(this.#retryMs, this.#wake)
    this.#retryMs = Math.min(this.#retryMs * 2, retryMsMax)
  }

  /**
   * Moves a cursor over what is lost to damage, when that is why its read failed.
   * @returns false when it is not
   */
  passOver(cursor: Cursor, error: unknown): boolean {
    const from = cursor.offset
    const to = nextReadable(error, from)
    if (to === undefined) return false
    cursor.offset = to
    if (!this.#gapEnds.has(to)) {
      this.#gapEnds.add(to)
      const known = this.partition.damaged.find((gap) => from >= gap.from && from < gap.to)
      this.#host.onGap(this.partition.index, { from: known?.from ?? from, to })
    }
    if (to > cursor.passedOver) {
      cursor.passedOver = to
      this.#host.onSkipped(to - from)
    }
    return true
  }

  /** Waits no longer. */
  forget(cursor: Cursor): void {
    const index = cursor.waitIndex
    if (index === -1) return
    cursor.waitIndex = -1
    const last = this.#waiting.pop() as Cursor
    if (last !== cursor) {
      this.#waiting[index] = last
      last.waitIndex = index
    }
    if (this.#waiting.length === 0) this.#stopWaiting()
  }

  /**
   * Reads at `offset`, or gives what another cursor just read there. Deliveries are shared: nobody changes them. Their bytes are
   * there until the feed reads something else or drops them: who needs them for longer says so, by `lendBytes` or `letEscape`.
   * @throws as `ReadablePartition.read`
   */
  read(offset: number, bytesMax: number): MaybePromise<BatchDelivery> {
    const shared = this.#shared
    const { stableOffset } = this.partition
    // A larger bound may give more, a smaller one less.
    if (shared?.offset === offset && shared.bytesMax === bytesMax) {
      if (shared.end === undefined || shared.end === stableOffset) return shared.found
    }
    this.dropShared()
    const read = this.partition.read(offset, bytesMax, true)
    const found = isPromise(read)
      ? read.then((bytes) => {
          letEscape(bytes) // what comes late may have been dropped
          return this.#arrived(offset, bytes)
        })
      : this.#arrived(offset, read)
    if (!isPromise(read)) this.#lent = read
    const whole = !isPromise(found) && found.nextOffset >= stableOffset
    this.#shared = { offset, bytesMax, found, end: whole ? stableOffset : undefined }
    if (isPromise(found)) handledElsewhere(found)
    this.#host.onRead(this)
    return found
  }

  /** Lets go of what was read last, so that an idle feed holds no bytes. */
  dropShared(): void {
    this.#shared = undefined
    const lent = this.#lent
    if (lent === undefined) return
    this.#lent = undefined
    giveBackBytes(lent)
  }

  #arrived(offset: number, bytes: BatchBytes): BatchDelivery {
    if (bytes.length > 0) {
      this.#retryMs = retryMsMin
      this.#unreadable = false
    }
    const nextOffset = endOffsetOf(bytes) ?? offset
    return { partition: this.partition.index, bytes, fromOffset: offset, nextOffset }
  }

  readonly #wake = (): void => {
    this.#stopWaiting()
    const waiting = this.#waiting
    for (const cursor of waiting) {
      cursor.waitIndex = -1
      cursor.holder?.cursorWoken(cursor)
    }
    if (waiting.length === 1) waiting.pop()
    else waiting.length = 0
  }

  #stopWaiting(): void {
    this.#registration?.[Symbol.dispose]()
    this.#registration = undefined
    this.#retryTimer?.[Symbol.dispose]()
    this.#retryTimer = undefined
  }
}

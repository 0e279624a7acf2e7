/**
 * Watches that a subscription without a group does not fall behind further than it wants to: see `Overflow`.
 *
 * Nothing is kept of what is dropped: a drop is a cursor that moves. It is decided when the subscription can take something
 * again, from where the log ends at that moment, so a subscriber that stands still costs nothing meanwhile. Only for
 * `disconnect` the partitions are watched, while it stands still.
 */
import { sliceBatch } from '../../domain/batch/slice.ts'
import { messagesAllowed } from '../../domain/overflow.ts'
import type { BatchDelivery, DroppedMessages, Expansion, Overflow } from '../../ports/index.ts'
import { batchSizeOf, batchStarts, isRatatoskrError, nextOffsetOf } from '../../ports/index.ts'
import type { Cursor } from './cursor.ts'
import type { Runner, Steppable } from './runner.ts'

/** What a subscription that does not keep up needs of delivery, and tells it. */
export interface OverflowHost {
  readonly runner: Runner
  readonly checksum: (bytes: Uint8Array) => number
  readonly expansion: Expansion
  /** These messages were dropped; or, by `disconnect`, they are what the subscriber was behind. */
  overflowed(messages: DroppedMessages): void
}

/** What the guard asks of its subscription. */
export interface GuardedSubscription {
  /** What was read for this cursor and is not handed over will not be: it is read again. */
  letGoOfRead(cursor: Cursor): void
  /** It was further behind than its bound, with the policy `disconnect`. */
  tooSlow(behind: DroppedMessages): void
}

export class OverflowGuard implements Steppable {
  readonly #overflow: Overflow
  readonly #host: OverflowHost
  readonly #subscription: GuardedSubscription
  /** `dropNewest`: the offset up to which a cursor goes on before it skips to the end. */
  readonly #marks = new Map<Cursor, number>()
  /** `disconnect`: registrations with partitions, one a cursor. */
  readonly #watches = new Map<Cursor, Disposable>()
  /** Drops that the sink has to be told of. */
  #untold: DroppedMessages[] = []
  #standing = false
  #behind: DroppedMessages | undefined

  constructor(overflow: Overflow, host: OverflowHost, subscription: GuardedSubscription) {
    this.#overflow = overflow
    this.#host = host
    this.#subscription = subscription
  }

  /** The subscription can take nothing now. */
  stands(cursors: readonly Cursor[]): void {
    this.#standing = true
    if (this.#overflow.policy !== 'disconnect') return
    for (const cursor of cursors) this.#watch(cursor)
  }

  /** It can again. Of `reading` a read is under way, which goes on. */
  goesOn(cursors: readonly Cursor[], reading: Cursor | undefined): void {
    if (!this.#standing) return
    this.#standing = false
    const { policy } = this.#overflow
    if (policy === 'disconnect') return
    for (const cursor of cursors) {
      const allowed = this.#allowed(cursor)
      const { stableOffset } = cursor.feed.partition
      if (cursor === reading || stableOffset - cursor.offset <= allowed || this.#marks.has(cursor)) continue
      this.#subscription.letGoOfRead(cursor)
      if (policy === 'dropOldest') this.#drop(cursor, cursor.offset, stableOffset - allowed)
      else this.#marks.set(cursor, cursor.offset + allowed)
    }
  }

  /** `cursor` is about to read: one that has come to its mark skips to the end. */
  beforeRead(cursor: Cursor): void {
    const mark = this.#marks.get(cursor)
    if (mark === undefined || cursor.offset < mark) return
    this.#marks.delete(cursor)
    this.#drop(cursor, cursor.offset, cursor.feed.partition.stableOffset)
  }

  /** What of a delivery is within the cursor's mark. */
  within(cursor: Cursor, delivery: BatchDelivery): BatchDelivery {
    const mark = this.#marks.get(cursor)
    if (mark === undefined || delivery.nextOffset <= mark) return delivery
    return { ...delivery, ...this.#cut(delivery.bytes, mark) }
  }

  /** Drops that the sink was not told of yet, in order. */
  takeUntold(): readonly DroppedMessages[] {
    if (this.#untold.length === 0) return this.#untold
    const untold = this.#untold
    this.#untold = []
    return untold
  }

  /** The subscription reads with these cursors now. */
  assigned(cursors: readonly Cursor[]): void {
    const kept = new Set(cursors)
    for (const cursor of this.#marks.keys()) if (!kept.has(cursor)) this.#marks.delete(cursor)
    for (const cursor of this.#watches.keys()) if (!kept.has(cursor)) this.#unwatch(cursor)
    if (this.#standing) this.stands(cursors)
  }

  /** Ends the subscription: in its turn, since the partition that told has its publisher waiting. */
  step(): void {
    if (this.#behind === undefined) return
    this.#host.overflowed(this.#behind)
    this.#subscription.tooSlow(this.#behind)
  }

  close(): void {
    this.#standing = false
    this.#behind = undefined
    this.#untold = []
    this.#marks.clear()
    for (const cursor of this.#watches.keys()) this.#unwatch(cursor)
  }

  #allowed({ feed: { partition } }: Cursor): number {
    const { sizeBytes, startOffset, stableOffset, state } = partition
    if (state !== 'online') return Number.POSITIVE_INFINITY
    return messagesAllowed(this.#overflow, { sizeBytes, messages: stableOffset - startOffset })
  }

  #drop(cursor: Cursor, fromOffset: number, toOffset: number): void {
    if (toOffset <= fromOffset) return
    cursor.offset = toOffset
    const dropped = { partition: cursor.partition, fromOffset, toOffset }
    this.#untold.push(dropped)
    this.#host.overflowed(dropped)
  }

  #watch(cursor: Cursor): void {
    if (this.#behind !== undefined) return
    const { partition } = cursor.feed
    if (partition.stableOffset - cursor.offset > this.#allowed(cursor)) {
      const { stableOffset: toOffset } = partition
      this.#behind = { partition: partition.index, fromOffset: cursor.offset, toOffset }
      this.#host.runner.schedule(this)
    } else if (!this.#watches.has(cursor)) {
      const changed = (): void => {
        this.#watches.delete(cursor)
        if (this.#standing) this.#watch(cursor)
      }
      this.#watches.set(cursor, partition.onceChanged(changed))
    }
  }

  #unwatch(cursor: Cursor): void {
    this.#watches.get(cursor)?.[Symbol.dispose]()
    this.#watches.delete(cursor)
  }

  /** The batches up to `end`, the last of them cut where it goes beyond; whole when it cannot be opened here. */
  #cut(bytes: Uint8Array, end: number): Pick<BatchDelivery, 'bytes' | 'nextOffset'> {
    for (const at of batchStarts(bytes)) {
      const nextOffset = nextOffsetOf(bytes, at)
      if (nextOffset < end) continue
      const last = nextOffset === end ? undefined : this.#sliced(bytes, at, end)
      if (last === undefined) return { bytes: bytes.subarray(0, at + batchSizeOf(bytes, at)), nextOffset }
      const cut = new Uint8Array(at + last.length)
      cut.set(bytes.subarray(0, at))
      cut.set(last, at)
      return { bytes: cut, nextOffset: end }
    }
    return { bytes, nextOffset: end }
  }

  #sliced(bytes: Uint8Array, at: number, end: number): Uint8Array | undefined {
    try {
      return sliceBatch(bytes, at, [0, end], this.#host.checksum, this.#host.expansion)
    } catch (error) {
      if (isRatatoskrError(error)) return undefined
      throw error
    }
  }
}

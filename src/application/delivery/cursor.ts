/**
 * A cursor is one reader's place in one partition: all that a subscriber costs while it has nothing to do. It holds no
 * messages. Whoever moves a reader somewhere else (a rebalance, a seek) gives it a new cursor, so that a read or a
 * delivery that is still under way for the old one can be told by its identity and changes nothing.
 */
import type { BatchDelivery } from '../../ports/index.ts'
import { leaderEpochOf } from '../../ports/index.ts'
import type { PartitionFeed } from './feed.ts'

/** Who reads with the cursor. */
export interface CursorHolder {
  /** The cursor's partition may have something for it. */
  cursorWoken(cursor: Cursor): void
}

/** A cursor that did not stand where there is anything to read, and was put where there is. */
export interface CursorMove {
  readonly from: number
  readonly to: number
}

export class Cursor {
  readonly feed: PartitionFeed
  /** Offset of the next message. */
  offset: number
  /** Leader epoch with which the last delivery began, -1 before the first: committed offsets carry it. */
  leaderEpoch = -1
  /** Where the last gap that it was moved over ends: a member that goes back to before it is not counted again. */
  passedOver = 0
  /** True when a seek put the cursor here: then commits beyond `offset` stem from before the seek. */
  readonly afterSeek: boolean
  holder: CursorHolder | undefined
  /** The feed's: its place among those that wait, -1 when it does not. */
  waitIndex = -1

  constructor(feed: PartitionFeed, offset: number, afterSeek = false) {
    this.feed = feed
    this.offset = offset
    this.afterSeek = afterSeek
  }

  get partition(): number {
    return this.feed.partition.index
  }

  /** True when there is something to read now. */
  get readable(): boolean {
    const { state, stableOffset } = this.feed.partition
    return state === 'online' && this.offset < stableOffset
  }

  /** True when there was something to read, and there is no more. */
  get atEnd(): boolean {
    const { state, stableOffset } = this.feed.partition
    return state === 'online' && this.offset === stableOffset
  }

  /**
   * Moves a cursor that the log has left behind: forward to the start when retention deleted what it stood on, and back
   * to the end when the log lost its tail in a crash. @returns undefined when it stands well
   */
  adjust(): CursorMove | undefined {
    const { state, startOffset, stableOffset } = this.feed.partition
    if (state !== 'online') return undefined
    const from = this.offset
    this.offset = Math.max(Math.min(from, stableOffset), startOffset)
    return this.offset === from ? undefined : { from, to: this.offset }
  }

  /** Goes on after a delivery. */
  advance(delivery: BatchDelivery): void {
    this.offset = delivery.nextOffset
    this.leaderEpoch = leaderEpochOf(delivery.bytes)
  }
}

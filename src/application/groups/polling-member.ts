/**
 * A member that asks for its messages: it exists from its first call until it has been silent for `memberTimeoutMs`. A
 * call that waits counts as a sign of life as long as it waits.
 */
import type { Clock, FetchedBatch, MaybePromise, PartitionOffset, RatatoskrError } from '../../ports/index.ts'
import { batchSizeOf, batchStarts, endOffsetOf, nextOffsetOf } from '../../ports/index.ts'
import type { Cursor } from '../delivery/cursor.ts'
import { outOfRange } from '../delivery/positions.ts'
import type { GroupMember } from './member.ts'

export interface PollingHost {
  readonly topicId: string
  readonly clock: Clock
  readonly timeoutMs: number
  /** The member was silent for too long. */
  expired(member: PollingMember): void
  /** The group let it go. */
  over(member: PollingMember, reason: RatatoskrError | undefined): void
}

/** What one call takes: messages exactly; bytes softly, for at least one batch comes when there is any. */
export interface FetchBounds {
  readonly bytesMax: number
  readonly messagesMax: number
}

export class PollingMember implements GroupMember {
  readonly id: string
  readonly name: string
  readonly anonymous: boolean
  /** Why it is none any more. */
  endReason: RatatoskrError | undefined
  readonly #host: PollingHost
  #cursors: readonly Cursor[] = []
  /** Which partition has its turn next, so that a busy one does not starve the others. */
  #turn = 0
  #calls = 0
  #over = false
  #seenMs: number
  #timer: Disposable | undefined
  #lastTake: Promise<unknown> = Promise.resolve()
  readonly #watchers = new Set<() => void>()

  constructor(id: string, name: string, anonymous: boolean, host: PollingHost) {
    this.id = id
    this.name = name
    this.anonymous = anonymous
    this.#host = host
    this.#seenMs = host.clock.monotonic()
  }

  get cursors(): readonly Cursor[] {
    return this.#cursors
  }

  assign(cursors: readonly Cursor[]): void {
    this.#cursors = cursors
    this.#changed()
  }

  evict(reason: RatatoskrError): void {
    this.end(reason)
  }

  /** Ends it once. */
  end(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#cursors = []
    this.endReason = reason
    this.#host.over(this, reason)
    this.#changed()
  }

  /** Calls `run` once, when its partitions have changed or it is none any more. */
  onceChanged(run: () => void): Disposable {
    this.#watchers.add(run)
    return { [Symbol.dispose]: () => void this.#watchers.delete(run) }
  }

  /** A call has begun: it lives until `silent`. */
  speaking(): void {
    this.#calls++
  }

  /** A call has ended: its time runs from here on. */
  silent(): void {
    this.#calls--
    this.alive()
  }

  /** It gave a sign of life. */
  alive(): void {
    if (this.#over) return
    this.#seenMs = this.#host.clock.monotonic()
    this.#timer ??= this.#host.clock.after(this.#host.timeoutMs, this.#timeUp)
  }

  /**
   * Goes on where the member says that it stands. What lies beyond a seek that it has not heard of does not count.
   * @throws RTK_OFFSET_OUT_OF_RANGE beyond the end
   */
  reposition(positions: readonly PartitionOffset[]): void {
    for (const { partition, offset } of positions) {
      const cursor = this.#cursors.find((one) => one.partition === partition)
      if (cursor === undefined) continue
      if (offset > cursor.feed.partition.stableOffset) throw outOfRange(cursor.feed.partition, offset)
      if (!cursor.afterSeek || offset < cursor.offset) cursor.offset = offset
    }
  }

  /** Takes the next batches of its partitions; none when there are none. Calls take one after the other. */
  take(bounds: FetchBounds): Promise<readonly FetchedBatch[]> {
    const taken = this.#lastTake.then(() => this.#takeNow(bounds))
    this.#lastTake = taken.catch(() => {}) // whoever called is told
    return taken
  }

  /** @throws what a read throws, when nothing was taken before it */
  async #takeNow({ bytesMax, messagesMax }: FetchBounds): Promise<readonly FetchedBatch[]> {
    const batches: FetchedBatch[] = []
    const cursors = this.#cursors
    let failure: unknown
    let bytesLeft = bytesMax
    let messagesLeft = messagesMax
    const first = this.#turn++
    for (let i = 0; i < cursors.length && bytesLeft > 0 && messagesLeft > 0; i++) {
      const cursor = cursors[(first + i) % cursors.length]
      cursor.adjust()
      if (!cursor.readable) continue
      let batch: FetchedBatch | undefined
      try {
        batch = await this.#read(cursor, bytesLeft, messagesLeft)
      } catch (error) {
        failure ??= error
        continue // the other partitions are well
      }
      if (batch === undefined || (batches.length > 0 && batch.bytes.length > bytesLeft)) continue
      cursor.advance(batch)
      batches.push(batch)
      bytesLeft -= batch.bytes.length
      messagesLeft -= batch.nextOffset - batch.fromOffset
    }
    if (batches.length === 0 && failure !== undefined) throw failure
    return batches
  }

  /** @returns undefined when the cursor is not the member's any more */
  async #read(cursor: Cursor, bytesMax: number, messagesMax: number): Promise<FetchedBatch | undefined> {
    const { partition } = cursor.feed
    const fromOffset = cursor.offset
    let read: Uint8Array
    try {
      read = await (partition.read(fromOffset, bytesMax) as MaybePromise<Uint8Array>)
    } catch (error) {
      if (cursor.offset !== fromOffset || !this.#cursors.includes(cursor)) return undefined
      if (!cursor.feed.passOver(cursor, error)) throw error
      return cursor.readable ? this.#read(cursor, bytesMax, messagesMax) : undefined
    }
    const bytes = wholeBatches(read, fromOffset, messagesMax)
    const endOffset = endOffsetOf(bytes)
    if (endOffset === undefined || cursor.offset !== fromOffset || !this.#cursors.includes(cursor))
      return undefined
    const nextOffset = Math.min(endOffset, fromOffset + messagesMax)
    const { index, startOffset, stableOffset } = partition
    return {
      topicId: this.#host.topicId,
      partition: index,
      bytes,
      fromOffset,
      nextOffset,
      startOffset,
      stableOffset,
    }
  }

  readonly #timeUp = (): void => {
    this.#timer = undefined
    if (this.#calls > 0) return // the end of the call starts it again
    const { clock, timeoutMs } = this.#host
    const leftMs = this.#seenMs + timeoutMs - clock.monotonic()
    if (leftMs > 0) this.#timer = clock.after(leftMs, this.#timeUp)
    else this.#host.expired(this)
  }

  #changed(): void {
    const watchers = [...this.#watchers]
    this.#watchers.clear()
    for (const run of watchers) run()
  }
}

/** The batches, from the first on, that hold the next `messagesMax` messages; more of the last one may be in it. */
function wholeBatches(bytes: Uint8Array, fromOffset: number, messagesMax: number): Uint8Array {
  let end = 0
  for (const at of batchStarts(bytes)) {
    end = at + batchSizeOf(bytes, at)
    if (nextOffsetOf(bytes, at) - fromOffset >= messagesMax) break
  }
  return bytes.subarray(0, end)
}

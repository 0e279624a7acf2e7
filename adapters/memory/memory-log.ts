/**
 * One partition in memory: a list of buffers that are read from without a copy. Large batches stay in the buffers in which
 * they came; others are copied, once, into buffers of the log's own, which begin small and double, so that an idle topic
 * costs nothing and a busy one few allocations.
 */
import {
  assertAppendsAtEnd,
  assertDurability,
  assertReadable,
  BatchBuffer,
  type BatchBytes,
  baseOffsetOf,
  closedError,
  type Durability,
  isKeepable,
  type LogStoreTally,
  type OffsetRange,
  type PartitionLog,
  RatatoskrError,
} from 'ratatoskr/ports'

const smallestBufferBytes = 16 * 1024
// Large enough that the room left at its end, less than a batch, is little beside it; pages never written cost nothing.
const largestBufferBytes = 8 * 1024 * 1024

/** Memory that is damaged is beyond what a program can notice. */
const noDamage: readonly OffsetRange[] = []
const noBytes = new Uint8Array(0)

/** What all logs of a store share: how much there may be. */
export interface MemoryBudget {
  readonly bytesMax: number
  readonly messagesMax: number
  bytes: number
  messages: number
  readonly counters: LogStoreTally
}

export class MemoryLog implements PartitionLog {
  readonly #budget: MemoryBudget
  readonly #segmentBytes: number
  readonly #onClose: () => void
  #buffers: BatchBuffer[] = []
  /** What is left of the buffer that was made last, when a batch that is kept has come behind it. */
  #room: Uint8Array = noBytes
  #madeBytes = 0
  #startOffset = 0
  #endOffset = 0
  #sizeBytes = 0
  #closed = false

  constructor(budget: MemoryBudget, segmentBytes: number, onClose: () => void) {
    this.#budget = budget
    this.#segmentBytes = segmentBytes
    this.#onClose = onClose
  }

  get startOffset(): number {
    return this.#startOffset
  }

  get stableOffset(): number {
    return this.#endOffset
  }

  get endOffset(): number {
    return this.#endOffset
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  get damaged(): readonly OffsetRange[] {
    return noDamage
  }

  get acceptedLosses(): readonly OffsetRange[] {
    return noDamage
  }

  append(batch: BatchBytes, baseOffset: number, recordCount: number, durability: Durability): void {
    if (this.#closed) throw closedError('the log')
    assertAppendsAtEnd(baseOffset, this.#endOffset)
    assertDurability(durability, 'memory')
    this.#take(batch.length, recordCount)
    if (isKeepable(batch)) this.#keep(batch, recordCount)
    else this.#copy(batch, recordCount)
    this.#endOffset += recordCount
    const { counters } = this.#budget
    counters.appends++
    counters.appendedBytes += batch.length
  }

  read(offset: number, bytesMax: number, lent = false): BatchBytes {
    if (this.#closed) throw closedError('the log')
    assertReadable(offset, this.#startOffset, this.#endOffset)
    if (offset === this.#endOffset) return noBytes
    this.#budget.counters.hotReads++
    return this.#bufferOf(offset).read(offset, this.#endOffset, bytesMax, lent)
  }

  async offsetForTime(timestampMs: number): Promise<number> {
    if (this.#closed) throw closedError('the log')
    for (const buffer of this.#buffers) {
      if (buffer.maxTimestampMs < timestampMs) continue
      const at = buffer.positionOfTime(timestampMs)
      if (at !== -1) return baseOffsetOf(buffer.view(at, buffer.sizeBytes))
    }
    return this.#endOffset
  }

  offsetAfterBytes(bytes: number): number {
    if (this.#closed) throw closedError('the log')
    let offset = this.#startOffset
    let left = bytes
    for (const { sizeBytes, endOffset } of this.#buffers) {
      left -= sizeBytes
      if (left < 0) break
      offset = endOffset
    }
    return offset
  }

  async truncateBefore(offset: number): Promise<number> {
    if (this.#closed) throw closedError('the log')
    let count = 0
    while (count < this.#buffers.length - 1 && this.#buffers[count].endOffset <= offset) count++
    if (count > 0) {
      this.#release(this.#buffers.splice(0, count))
      this.#startOffset = this.#buffers[0].baseOffset
    }
    return this.#startOffset
  }

  async truncateAfter(offset: number): Promise<void> {
    if (this.#closed) throw closedError('the log')
    assertReadable(offset, this.#startOffset, this.#endOffset)
    if (offset === this.#endOffset) return
    const place = this.#buffers.indexOf(this.#bufferOf(offset))
    const buffer = this.#buffers[place]
    const at = buffer.positionOf(offset)
    if (baseOffsetOf(buffer.view(at, buffer.sizeBytes)) !== offset) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `offset ${offset} is inside a batch; give a batch's first`,
      )
    }
    this.#release(this.#buffers.splice(place + 1))
    this.#give(buffer.sizeBytes - at, buffer.endOffset - offset)
    buffer.cut(at, offset)
    if (at === 0) this.#buffers.pop()
    this.#endOffset = offset
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#onClose()
  }

  /** A new owner's log on the data of this one, which stays closed. */
  handOver(segmentBytes: number, onClose: () => void): MemoryLog {
    const log = new MemoryLog(this.#budget, segmentBytes, onClose)
    log.#buffers = this.#buffers
    log.#room = this.#room
    log.#madeBytes = this.#madeBytes
    log.#startOffset = this.#startOffset
    log.#endOffset = this.#endOffset
    log.#sizeBytes = this.#sizeBytes
    return log
  }

  /** Closes the log and gives its memory back. Bytes that readers hold stay as they are. */
  discard(): void {
    this.#closed = true
    this.#release(this.#buffers)
    this.#buffers = []
    this.#room = noBytes
  }

  #bufferOf(offset: number): BatchBuffer {
    const buffers = this.#buffers
    let low = 0
    let high = buffers.length - 1
    if (buffers[high].baseOffset <= offset) return buffers[high]
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (buffers[middle].baseOffset <= offset) low = middle
      else high = middle - 1
    }
    return buffers[low]
  }

  #keep(batch: BatchBytes, recordCount: number): void {
    const room = this.#buffers.at(-1)?.seal()
    if (room !== undefined && room.length > 0) this.#room = room
    this.#buffers.push(BatchBuffer.of(batch, this.#endOffset, recordCount))
  }

  #copy(batch: BatchBytes, recordCount: number): void {
    let buffer = this.#buffers[this.#buffers.length - 1]
    if (buffer === undefined || !buffer.hasRoom(batch.length)) buffer = this.#roll(batch.length)
    buffer.append(batch, recordCount)
  }

  #roll(batchBytes: number): BatchBuffer {
    this.#buffers.at(-1)?.seal()
    const room = this.#room.length >= batchBytes ? this.#room : this.#newRoom(batchBytes)
    this.#room = noBytes
    const buffer = new BatchBuffer(this.#endOffset, room)
    this.#buffers.push(buffer)
    return buffer
  }

  #newRoom(batchBytes: number): Uint8Array {
    const grown = Math.min(Math.max(this.#madeBytes * 2, smallestBufferBytes), largestBufferBytes)
    this.#madeBytes = Math.max(batchBytes, Math.min(grown, this.#segmentBytes))
    return new Uint8Array(this.#madeBytes)
  }

  #take(bytes: number, messages: number): void {
    const budget = this.#budget
    if (budget.bytes + bytes > budget.bytesMax) throw full(`${budget.bytesMax} bytes (bytesMax)`)
    if (budget.messages + messages > budget.messagesMax)
      throw full(`${budget.messagesMax} messages (messagesMax)`)
    budget.bytes += bytes
    budget.counters.hotBytes = budget.bytes
    budget.messages += messages
    this.#sizeBytes += bytes
  }

  #give(bytes: number, messages: number): void {
    this.#budget.bytes -= bytes
    this.#budget.counters.hotBytes = this.#budget.bytes
    this.#budget.messages -= messages
    this.#sizeBytes -= bytes
  }

  #release(buffers: readonly BatchBuffer[]): void {
    for (const buffer of buffers) {
      this.#give(buffer.sizeBytes, buffer.endOffset - buffer.baseOffset)
      buffer.letGo()
    }
  }
}

const full = (bound: string): RatatoskrError =>
  new RatatoskrError(
    'RTK_STORE_FULL',
    `the memory store holds at most ${bound}; consume, delete, or raise it`,
  )

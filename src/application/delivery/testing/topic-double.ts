/** A topic over arrays of batches whose log can be slow, sick or cut: what delivery is tested against. */
import {
  BatchBuilder,
  baseOffsetOf,
  nextOffsetOf,
  type OffsetRange,
  RatatoskrError,
  stampBatch,
  type TopicConfig,
  utf8,
} from '../../../ports/index.ts'
import type { LiveTopic, ReadablePartition } from '../../seams.ts'

/** Nothing here checks checksums. */
const noChecksum = (): number => 0

/** A batch of `count` records whose payloads are `text`, or what it gives for the record's place. */
export function batchOf(
  count: number,
  text: string | ((place: number) => string) = 'x',
  timestampMs = 0,
): Uint8Array {
  const builder = new BatchBuilder({ checksum: noChecksum })
  for (let i = 0; i < count; i++) {
    builder.add({ payload: utf8(typeof text === 'string' ? text : text(i)), timestampMs: timestampMs + i })
  }
  return builder.build()
}

export class PartitionDouble implements ReadablePartition {
  readonly index: number
  state: ReadablePartition['state'] = 'online'
  startOffset = 0
  endOffset = 0
  reads = 0
  /** Reads answer with promises, as a disk's do, when this has settled. */
  slow: Promise<void> | undefined
  /** What the next reads throw. */
  readonly failures: unknown[] = []
  /** Called before each read. */
  onRead: () => void = () => {}
  /** What is lost to damage: reads in it fail with RTK_STORE_CORRUPT, reads before it end there. */
  gaps: readonly OffsetRange[] = []
  readonly #batches: Uint8Array[] = []
  #watchers = new Set<() => void>()

  constructor(index: number) {
    this.index = index
  }

  get stableOffset(): number {
    return this.endOffset
  }

  get sizeBytes(): number {
    return this.#batches.reduce((sum, batch) => sum + batch.length, 0)
  }

  get damaged(): readonly OffsetRange[] {
    return this.gaps
  }

  get watcherCount(): number {
    return this.#watchers.size
  }

  publish(batch: Uint8Array, leaderEpoch = 0): void {
    stampBatch(batch, this.endOffset, leaderEpoch)
    this.#batches.push(batch)
    this.endOffset = nextOffsetOf(batch)
    this.changed()
  }

  become(state: ReadablePartition['state']): void {
    this.state = state
    this.changed()
  }

  truncateBefore(offset: number): void {
    this.startOffset = offset
    while (this.#batches.length > 0 && nextOffsetOf(this.#batches[0]) <= offset) this.#batches.shift()
  }

  /** The log loses its tail, as after a power cut. `offset` is a batch's first. */
  cutAfter(offset: number): void {
    this.endOffset = offset
    while (this.#batches.length > 0 && baseOffsetOf(this.#batches[this.#batches.length - 1]) >= offset) {
      this.#batches.pop()
    }
    this.changed()
  }

  read(offset: number, bytesMax: number): Uint8Array | Promise<Uint8Array> {
    this.reads++
    return this.slow ? this.slow.then(() => this.#readNow(offset, bytesMax)) : this.#readNow(offset, bytesMax)
  }

  async offsetForTime(timestampMs: number): Promise<number> {
    return Math.min(Math.max(timestampMs, this.startOffset), this.endOffset)
  }

  onceChanged(run: () => void): Disposable {
    const watcher = (): void => run()
    this.#watchers.add(watcher)
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) }
  }

  changed(): void {
    const watchers = this.#watchers
    this.#watchers = new Set()
    for (const run of watchers) run()
  }

  #readNow(offset: number, bytesMax: number): Uint8Array {
    this.onRead()
    if (this.failures.length > 0) throw this.failures.shift()
    if (offset < this.startOffset || offset > this.endOffset) {
      throw new RatatoskrError('RTK_OFFSET_OUT_OF_RANGE', `no offset ${offset}`)
    }
    const gap = this.gaps.find(({ to }) => offset < to)
    if (gap !== undefined && offset >= gap.from) throw lost(offset, gap.to)
    const found: Uint8Array[] = []
    let size = 0
    for (const batch of this.#batches) {
      if (nextOffsetOf(batch) <= offset) continue
      if (gap !== undefined && nextOffsetOf(batch) > gap.from) break
      if (found.length > 0 && size + batch.length > bytesMax) break
      found.push(batch)
      size += batch.length
    }
    const bytes = new Uint8Array(size)
    let at = 0
    for (const batch of found) {
      bytes.set(batch, at)
      at += batch.length
    }
    return bytes
  }
}

const lost = (offset: number, nextOffset: number): RatatoskrError =>
  new RatatoskrError('RTK_STORE_CORRUPT', `offsets ${offset} to ${nextOffset - 1} are lost`, {
    details: { offset, nextOffset },
  })

export class TopicDouble implements LiveTopic {
  readonly ref = { namespace: 'default', name: 'orders' }
  readonly text = 'orders'
  readonly id: string
  readonly config: TopicConfig
  readonly partitions: PartitionDouble[] = []
  readonly #watchers = new Set<() => void>()

  constructor(partitions = 1, id = '00000000-0000-4000-8000-000000000001') {
    this.id = id
    this.config = {
      partitions,
      retentionMs: -1,
      retentionBytes: -1,
      retentionMessages: -1,
      retention: 'limits',
      segmentBytes: 1_000_000,
      durability: 'memory',
      messageBytesMax: 1_000_000,
      dedupWindowMs: 0,
      compression: 'none',
    }
    for (let i = 0; i < partitions; i++) this.partitions.push(new PartitionDouble(i))
  }

  addPartition(): void {
    this.partitions.push(new PartitionDouble(this.partitions.length))
    for (const run of [...this.#watchers]) run()
  }

  onConfigChanged(): Disposable {
    return { [Symbol.dispose]: () => {} }
  }

  onPartitionsAdded(run: () => void): Disposable {
    this.#watchers.add(run)
    return { [Symbol.dispose]: () => void this.#watchers.delete(run) }
  }
}

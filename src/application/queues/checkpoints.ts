/**
 * Stores what queue groups have come to: every partition that has changed, at most once in its group's interval, many with
 * one write. Partitions that cannot go on before they are stored are stored at once. What fails is tried again. What takes
 * long to make, for there are many unsettled messages, is made in slices, between which the event loop has its turn.
 */
import { type Clock, type ComponentHealth, type Platform, toRatatoskrError } from '../../ports/index.ts'
import type { HostedPartition } from './hosted-partition.ts'
import type { QueueStore } from './queue-store.ts'

/** Whose checkpoint it is. */
export interface CheckpointSource {
  readonly topicId: string
  readonly group: string
  readonly intervalMs: number
}

const retryMsMin = 100
const retryMsMax = 5_000
/** How long checkpoints are made without a pause. */
const sliceMs = 4

interface Dirty {
  readonly source: CheckpointSource
  dueMs: number
}

export class Checkpoints {
  readonly #store: QueueStore
  readonly #platform: Platform
  readonly #dirty = new Map<HostedPartition, Dirty>()
  #timer: Disposable | undefined
  #timerDueMs = Number.POSITIVE_INFINITY
  #writing: Promise<void> | undefined
  #retryMs = retryMsMin
  #lastError: string | undefined
  #queued = false
  #stopped = false

  constructor(store: QueueStore, platform: Platform) {
    this.#store = store
    this.#platform = platform
  }

  /** Health, while checkpoints cannot be stored. */
  get trouble(): readonly ComponentHealth[] {
    if (this.#lastError === undefined) return []
    return [{ name: 'queue checkpoints', status: 'restarting', restarts: 0, lastError: this.#lastError }]
  }

  /** The partition has something to store. */
  mark(partition: HostedPartition, source: CheckpointSource, urgent: boolean): void {
    const known = this.#dirty.get(partition)
    // What is marked is due within its interval, or tried again after a pause.
    if (known !== undefined && !urgent && source.intervalMs >= known.source.intervalMs) return
    const nowMs = this.#platform.clock.monotonic()
    const dueMs = urgent ? nowMs : nowMs + source.intervalMs
    if (known === undefined) this.#dirty.set(partition, { source, dueMs })
    else if (dueMs < known.dueMs) known.dueMs = dueMs
    else return
    if (urgent) this.#soon()
    else this.#arm(dueMs)
  }

  /** The partition is gone: nothing of it is stored any more. */
  forget(partition: HostedPartition): void {
    this.#dirty.delete(partition)
  }

  /** Stores everything that has changed. @throws what the state store throws */
  async flush(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing.catch(() => {})
    try {
      await this.#write(Number.POSITIVE_INFINITY)
    } finally {
      this.#armNext() // what failed is due again
    }
  }

  /** Stores all of these for the last time; nothing is leased after it. @throws what the state store throws */
  async stop(partitions: Iterable<readonly [HostedPartition, CheckpointSource]>): Promise<void> {
    this.#stopped = true
    for (const [partition, source] of partitions) this.#dirty.set(partition, { source, dueMs: 0 })
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#timerDueMs = Number.POSITIVE_INFINITY
    await this.flush()
    this.#dirty.clear()
  }

  /** Goes on after a stop. */
  start(): void {
    this.#stopped = false
  }

  /** What one event-loop turn makes urgent goes with one write. */
  #soon(): void {
    if (this.#queued || this.#stopped) return
    this.#queued = true
    queueMicrotask(() => {
      this.#queued = false
      this.#run()
    })
  }

  #arm(dueMs: number): void {
    if (this.#stopped || dueMs >= this.#timerDueMs) return
    this.#timer?.[Symbol.dispose]()
    this.#timerDueMs = dueMs
    const delayMs = Math.max(0, dueMs - this.#platform.clock.monotonic())
    this.#timer = this.#platform.clock.after(delayMs, () => {
      this.#timer = undefined
      this.#timerDueMs = Number.POSITIVE_INFINITY
      this.#run()
    })
  }

  #run(): void {
    if (this.#writing !== undefined || this.#stopped) return // the write's end looks again
    this.#write(this.#platform.clock.monotonic()).then(
      () => this.#armNext(),
      () => this.#armNext(), // it is reported, and due again
    )
  }

  #armNext(): void {
    const nowMs = this.#platform.clock.monotonic()
    let nextMs = Number.POSITIVE_INFINITY
    for (const { dueMs } of this.#dirty.values()) nextMs = Math.min(nextMs, dueMs)
    if (nextMs <= nowMs) this.#soon()
    else if (nextMs !== Number.POSITIVE_INFINITY) this.#arm(nextMs)
  }

  #write(untilMs: number): Promise<void> {
    const writing = this.#writeDue(untilMs).finally(() => {
      if (this.#writing === writing) this.#writing = undefined
    })
    this.#writing = writing
    return writing
  }

  async #writeDue(untilMs: number): Promise<void> {
    const writes: { readonly partition: HostedPartition; readonly dirty: Dirty; stored(): void }[] = []
    const puts: Promise<void>[] = []
    const due = [...this.#dirty].filter(([, { dueMs }]) => dueMs <= untilMs)
    const slices = new Slices(this.#platform.clock)
    for (const [partition, dirty] of due) {
      if (this.#dirty.get(partition) !== dirty) continue // forgotten while another one was made
      this.#dirty.delete(partition)
      const steps = partition.stored.checkpoint(this.#stopped)
      let step = steps.next()
      for (; step.done !== true; step = steps.next()) if (slices.isOver) await slices.next()
      const made = step.value
      if (made === undefined) continue
      const { topicId, group } = dirty.source
      writes.push({ partition, dirty, stored: made.stored })
      const put = this.#store.putCheckpoint(topicId, group, partition.index, made.bytes)
      put.catch(() => {}) // looked at below, when all are made
      puts.push(put)
    }
    if (puts.length === 0) return
    try {
      await Promise.all(puts)
    } catch (error) {
      this.#failed(writes, error)
      throw error
    }
    this.#retryMs = retryMsMin
    this.#lastError = undefined
    for (const { stored } of writes) stored()
  }

  #failed(
    writes: readonly { readonly partition: HostedPartition; readonly dirty: Dirty }[],
    thrown: unknown,
  ): void {
    const error = toRatatoskrError(thrown, 'RTK_STORE_FAILED')
    const dueMs = this.#platform.clock.monotonic() + this.#retryMs
    for (const { partition, dirty } of writes) this.#dirty.set(partition, { ...dirty, dueMs })
    if (this.#lastError === undefined) {
      this.#platform.logger.error(
        'what queue groups have come to cannot be stored; trying again, and a crash until then delivers more messages twice',
        { partitions: writes.length, error },
      )
    }
    this.#lastError = error.code
    this.#retryMs = Math.min(this.#retryMs * 2, retryMsMax)
  }
}

/** Ends what it does after a while, so that others have their turns. */
class Slices {
  readonly #clock: Clock
  #beganMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#beganMs = clock.monotonic()
  }

  get isOver(): boolean {
    return this.#clock.monotonic() - this.#beganMs >= sliceMs
  }

  async next(): Promise<void> {
    await new Promise<void>((resolve) => this.#clock.after(0, resolve))
    this.#beganMs = this.#clock.monotonic()
  }
}

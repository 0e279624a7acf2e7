/**
 * Messages that are to be delivered later: kept in the log of an internal topic, and published to their own when they are
 * due by the wall clock. What is in the log is what counts; in memory is only an index of when each is due.
 */
import { backoffDelayMs } from '../../domain/backoff.ts'
import type { Expansion } from '../../domain/batch/expand.ts'
import type { Durability } from '../../domain/durability.ts'
import { RatatoskrError, toRatatoskrError } from '../../domain/errors.ts'
import type { Limits } from '../../domain/limits.ts'
import { formatUuid } from '../../domain/message-id.ts'
import { scheduledTopicRef } from '../../domain/schedule/scheduling.ts'
import type { Platform, Principal, ScheduledMessage, ScheduledPage, StateStore } from '../../ports/index.ts'
import type { DurabilityOffer } from '../topics/durability-offer.ts'
import type { Topic } from '../topics/topic.ts'
import type { TopicRegistry } from '../topics/topic-registry.ts'
import { ScheduleCheckpoints } from './checkpoints.ts'
import { Compactor } from './compactor.ts'
import { Deliveries } from './deliveries.ts'
import { Breather } from './log-walk.ts'
import { ParkedTopics } from './parked-topics.ts'
import { SchedulePositions } from './positions.ts'
import { readBack, resolveDoubts } from './recovery.ts'
import { ScheduleState } from './schedule-state.ts'
import { type StoredMessage, sizeOfScheduled, waitingRecord } from './scheduled-record.ts'

export interface SchedulerParts {
  readonly platform: Platform
  readonly limits: Limits
  readonly topics: TopicRegistry
  readonly state: StateStore
  readonly offer: DurabilityOffer
  readonly expansion: Expansion
  /** Told how many messages went with a topic that was deleted. */
  readonly dropped: (messages: number) => void
}

/** A message to be kept until it is due. Its bytes are copied before `accept` returns. */
export interface MessageToSchedule extends Omit<StoredMessage, 'schedule'> {
  /** -1 when its producer chose none. */
  readonly partition: number
}

/** Told what became of a message. Exactly one of the two is called. */
export interface ScheduleWaiter {
  stored(durability: Durability): void
  failed(error: RatatoskrError): void
}

const principal: Principal = Object.freeze({ name: 'broker', namespace: 'default' })
const segmentBytes = 16 * 1024 * 1024
/** What a record takes beside key, headers and payload. */
const recordOverheadBytes = 192
/**
 * No timer runs for longer: the wall clock may be set, and a machine may sleep, without any timer noticing. The bound is
 * the lower one while the next message is due within a few hours.
 */
const timerMsMin = 10_000
const timerMsMax = 60_000
const timerShare = 1_000
const retry = { baseMs: 100, maxMs: 10_000 }

export class Scheduler {
  readonly #parts: SchedulerParts
  readonly #topics = new Map<string, Topic>()
  #running = false
  #state: ScheduleState | undefined
  #deliveries: Deliveries | undefined
  #checkpoints: ScheduleCheckpoints | undefined
  #compactor: Compactor | undefined
  /** Settles when the log is open, or could not be opened. */
  #opening: Promise<void> | undefined
  /** Messages that are being written to the log. */
  #accepting = 0
  #work: Promise<void> | undefined
  #timer: Disposable | undefined
  #timerDueMs = Number.POSITIVE_INFINITY
  #failures = 0
  #retryAtMs = 0

  constructor(parts: SchedulerParts) {
    this.#parts = parts
  }

  /** Messages that wait. */
  get waiting(): number {
    return this.#state?.index.size ?? 0
  }

  /** Reads back what waits. A log that cannot be read now is tried again, and does not keep the broker from starting. */
  async start(): Promise<void> {
    this.#running = true
    this.#state = undefined
    this.#deliveries = undefined
    this.#checkpoints = undefined
    this.#compactor = undefined
    this.#topics.clear()
    this.#failures = 0
    this.#retryAtMs = 0
    if (this.#parts.topics.get(scheduledTopicRef) === undefined) return
    await this.#open().catch((error: unknown) => this.#failed(error))
    this.#arm()
  }

  /** Lets the delivery that runs come to its end, and stores how far it came. */
  async stop(): Promise<void> {
    this.#running = false
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#checkpoints?.stop()
    await this.#work
    const state = this.#state
    this.#state = undefined
    if (state?.positions.changed) await state.positions.write()
  }

  /**
   * Keeps a message until it is due.
   * @param enteredMs when the publish entered the broker, by the monotonic clock
   * @throws RTK_LIMIT_EXCEEDED, RTK_UNAVAILABLE, RTK_OVERLOADED
   */
  accept(
    topic: Topic,
    message: MessageToSchedule,
    durability: Durability,
    enteredMs: number,
    waiter: ScheduleWaiter,
  ): void {
    const { scheduledMessagesMax } = this.#parts.limits
    if (this.waiting + this.#accepting >= scheduledMessagesMax) {
      throw new RatatoskrError(
        'RTK_LIMIT_EXCEEDED',
        `there are ${scheduledMessagesMax} scheduled messages already (scheduledMessagesMax); cancel some or raise the limit`,
      )
    }
    if (this.#state !== undefined) {
      this.#append(this.#state, topic, message, durability, enteredMs, waiter)
      return
    }
    if (!this.#running || this.#parts.topics.get(scheduledTopicRef) !== undefined) throw unavailable()
    // The first one makes the log, and the bytes are its publisher's again meanwhile.
    const copy = detached(message)
    this.#accepting++
    this.#open()
      .finally(() => this.#accepting--)
      .then(() => this.accept(topic, copy, durability, enteredMs, waiter))
      .catch((error: unknown) => waiter.failed(toRatatoskrError(error, 'RTK_STORE_FAILED')))
  }

  /** When the message with this id is due; undefined when it does not wait. */
  deliverAtOf(topicId: string, id: Uint8Array): number | undefined {
    const index = this.#state?.index
    const slot = index?.find(topicId, id) ?? -1
    return slot === -1 ? undefined : index?.dueMsOf(slot)
  }

  /**
   * Takes a message back. Of several with the same id the one that is due first.
   * @returns false when it does not wait: it never did, or is delivered, or is being delivered now
   * @throws RTK_UNAVAILABLE, RTK_STORE_FULL, RTK_STORE_FAILED; then it goes on waiting
   */
  async cancel(topic: Topic, id: Uint8Array): Promise<boolean> {
    const durability = this.#parts.offer.levelFor(topic.config.durability)
    for (;;) {
      const state = this.#openState()
      if (state === undefined) return false
      const { index, parked, log, positions } = state
      const slot = index.find(topic.id, id)
      if (slot === -1) return false
      const moving = this.#compactor?.moving
      if (moving !== undefined && !index.waits(slot)) {
        await moving
        continue
      }
      if (index.waits(slot)) index.withdraw(slot)
      else if (!parked.take(topic.id, slot)) return false
      const schedule = {
        kind: 'cancel',
        topicId: topic.id,
        partition: -1,
        order: index.orderOf(slot),
      } as const
      const empty = { payload: new Uint8Array(0), key: undefined, headers: [], expiresAtMs: undefined }
      const record = waitingRecord({ ...empty, id, deliverAtMs: index.dueMsOf(slot) }, schedule, this.#nowMs)
      try {
        const offset = await new Promise<number>((resolve, reject) => {
          log.appendMessage(record, recordOverheadBytes, durability, 0, { stored: resolve, failed: reject })
        })
        state.finish(slot)
        positions.markDone(offset)
        this.#checkpointSoon()
        return true
      } catch (error) {
        index.push(slot)
        this.#arm()
        throw error
      }
    }
  }

  /**
   * The messages of a topic that wait, by due time.
   * @param after `next` of the page before
   * @throws RTK_INVALID_ARGUMENT, RTK_UNAVAILABLE
   */
  list(topic: Topic, limit: number, after: string | undefined): ScheduledPage {
    const index = this.#openState()?.index
    const slots = index?.page(topic.id, after === undefined ? undefined : parseCursor(after), limit) ?? []
    if (index === undefined || slots.length === 0) return { messages: [], next: undefined }
    const messages = slots.map(
      (slot): ScheduledMessage => ({
        id: formatUuid(index.idOf(slot)),
        deliverAtMs: index.dueMsOf(slot),
        sizeBytes: index.sizeBytesOf(slot),
      }),
    )
    const last = slots[slots.length - 1]
    const next = slots.length < limit ? undefined : `${index.dueMsOf(last)}.${index.orderOf(last)}`
    return { messages, next }
  }

  get #nowMs(): number {
    return this.#parts.platform.clock.now()
  }

  /** Undefined when nothing was ever scheduled. @throws RTK_UNAVAILABLE while the log cannot be read */
  #openState(): ScheduleState | undefined {
    if (this.#state !== undefined) return this.#state
    if (!this.#running || this.#parts.topics.get(scheduledTopicRef) !== undefined) throw unavailable()
    return undefined
  }

  #append(
    state: ScheduleState,
    topic: Topic,
    message: MessageToSchedule,
    durability: Durability,
    enteredMs: number,
    waiter: ScheduleWaiter,
  ): void {
    const { partition, deliverAtMs } = message
    const schedule = { kind: 'message', topicId: topic.id, partition, order: -1 } as const
    const sizeBytes = sizeOfScheduled(message)
    const id = new Uint8Array(message.id)
    state.log.appendMessage(
      waitingRecord(message, schedule, this.#nowMs),
      sizeBytes + recordOverheadBytes,
      durability,
      enteredMs,
      {
        stored: (offset, reached) => {
          this.#accepting--
          // A message that is stored while the broker stops is read back at the next start.
          if (this.#state === state) {
            state.index.add(topic.id, id, 0, deliverAtMs, offset, offset, sizeBytes)
            if (deliverAtMs < this.#timerDueMs) this.#arm()
          }
          waiter.stored(reached)
        },
        failed: (error) => {
          this.#accepting--
          waiter.failed(error)
        },
      },
    )
    this.#accepting++
  }

  /** Opens the log, and makes it when it is not there. One at a time. */
  #open(): Promise<void> {
    this.#opening ??= this.#openLog().finally(() => {
      this.#opening = undefined
    })
    return this.#opening
  }

  async #openLog(): Promise<void> {
    const { topics, state: store, platform, limits, offer, expansion } = this.#parts
    const topic = topics.get(scheduledTopicRef) ?? (await this.#create())
    const log = topic.partition(0)
    if (log.state !== 'online') throw unavailable()
    const positions = await SchedulePositions.load(store, topic.id)
    const state = new ScheduleState(log, positions, new ParkedTopics(platform), this.#parts.dropped)
    const topicOf = (topicId: string): Topic | undefined => this.#topicOf(topicId)
    const breather = new Breather(platform.clock)
    const recovery = { breather, logger: platform.logger, topicOf }
    const inDoubt = positions.unresolved.length
    await resolveDoubts(state, recovery)
    await readBack(state, recovery)
    // Doubts that were resolved must not be met again by messages that come later.
    if (inDoubt > 0) await positions.write()
    this.#state = state
    this.#checkpoints = new ScheduleCheckpoints(state, platform)
    this.#compactor = new Compactor(state, this.#checkpoints, { platform, limits, offer })
    this.#deliveries = new Deliveries(state, { platform, limits, offer, expansion, topicOf })
  }

  async #create(): Promise<Topic> {
    const { topics, offer } = this.#parts
    const unlimited = { retentionMs: -1, retentionBytes: -1, retentionMessages: -1 }
    // Each record is written at the level of its own topic.
    const config = { partitions: 1, ...unlimited, segmentBytes, durability: offer.levelFor('memory') }
    return (await topics.create(scheduledTopicRef, config, principal)).topic
  }

  #topicOf(topicId: string): Topic | undefined {
    const known = this.#topics.get(topicId)
    if (known !== undefined && !known.deleted) return known
    const topic = this.#parts.topics.list().find(({ id }) => id === topicId)
    if (topic === undefined) this.#topics.delete(topicId)
    else this.#topics.set(topicId, topic)
    return topic
  }

  #wake(): void {
    if (this.#work !== undefined || !this.#running) return
    this.#work = this.#deliver()
      .then(
        () => {
          this.#failures = 0
        },
        (error: unknown) => this.#failed(error),
      )
      .finally(() => {
        this.#work = undefined
        if (this.#state?.positions.changed) this.#checkpointSoon()
        this.#arm()
      })
  }

  /** Delivers until nothing is due any more. */
  async #deliver(): Promise<void> {
    const { platform } = this.#parts
    if (platform.clock.monotonic() < this.#retryAtMs) return
    if (this.#state === undefined) await this.#open()
    const breather = new Breather(platform.clock)
    const [state, deliveries, compactor] = [this.#state, this.#deliveries, this.#compactor]
    if (state === undefined || deliveries === undefined || compactor === undefined) return
    for (const topicId of state.index.topicIds) {
      if (this.#topicOf(topicId) === undefined) state.dropAll(topicId, platform.logger)
    }
    while (this.#running) {
      if (!(await deliveries.round()) && !(await compactor.step(breather))) return
      await breather.pause()
    }
  }

  #failed(error: unknown): void {
    const { clock, logger, random } = this.#parts.platform
    this.#retryAtMs = clock.monotonic() + backoffDelayMs(this.#failures, retry, random.next())
    if (this.#failures++ === 0) {
      logger.error('scheduled messages cannot be read or moved; it is tried again, and what is due waits', {
        error,
      })
    }
  }

  /** Sets the timer for what comes next: a message that is due, or another try. */
  #arm(): void {
    if (!this.#running || this.#work !== undefined) return
    const { clock } = this.#parts.platform
    const monotonicMs = clock.monotonic()
    const state = this.#state
    const dueMs = state?.index.nextDueMs ?? Number.POSITIVE_INFINITY
    let delayMs = Number.POSITIVE_INFINITY
    if (state !== undefined) delayMs = Math.min(dueMs - clock.now(), state.parked.nextRetryMs - monotonicMs)
    else if (this.#failures > 0) delayMs = 0
    delayMs = Math.max(delayMs, this.#retryAtMs - monotonicMs)
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#timerDueMs = dueMs
    if (delayMs === Number.POSITIVE_INFINITY) return
    const boundMs = Math.min(timerMsMax, Math.max(timerMsMin, Math.ceil(delayMs / timerShare)))
    this.#timer = clock.after(Math.max(0, Math.min(delayMs, boundMs)), () => {
      this.#timer = undefined
      this.#timerDueMs = Number.POSITIVE_INFINITY
      this.#wake()
    })
  }

  #checkpointSoon(): void {
    if (this.#running) this.#checkpoints?.soon()
  }
}

const unavailable = (): RatatoskrError =>
  new RatatoskrError('RTK_UNAVAILABLE', 'the log of scheduled messages is being opened; retry after a pause')

const detached = (message: MessageToSchedule): MessageToSchedule => ({
  ...message,
  id: new Uint8Array(message.id),
  payload: new Uint8Array(message.payload),
  key: message.key && new Uint8Array(message.key),
  headers: message.headers.map(([name, value]) => [name, new Uint8Array(value)] as const),
})

function parseCursor(text: string): { readonly dueMs: number; readonly order: number } {
  const [dueMs, order, ...more] = text.split('.').map(Number)
  if (more.length === 0 && Number.isSafeInteger(dueMs) && Number.isSafeInteger(order)) return { dueMs, order }
  throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'after must be what the last page gave as next')
}

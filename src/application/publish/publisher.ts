/**
 * Publishing: checks what comes, chooses the partition, asks the guards, and hands it to the partition's writer.
 * Batches go through as bytes; single messages are checked one by one and gathered into batches by the partition.
 */
import { BatchBuilder } from '../../domain/batch/builder.ts'
import type { Expansion } from '../../domain/batch/expand.ts'
import { expiryHeaderSize } from '../../domain/batch/expiry-header.ts'
import { batchHeaderBytes, batchSizeOf, recordCountOf } from '../../domain/batch/header.ts'
import { verifyBatch } from '../../domain/batch/verify.ts'
import { type Durability, isAtLeast, isDurability } from '../../domain/durability.ts'
import { RatatoskrError, toRatatoskrError } from '../../domain/errors.ts'
import { validateOutgoingMessage } from '../../domain/headers.ts'
import type { Limits } from '../../domain/limits.ts'
import type { OutgoingMessage } from '../../domain/message.ts'
import { formatUuid, parseUuid } from '../../domain/message-id.ts'
import { quoteForMessage } from '../../domain/names.ts'
import { partitionForKey } from '../../domain/partitioner.ts'
import { deliveryTimesOf } from '../../domain/schedule/scheduling.ts'
import {
  type BatchBytes,
  type BatchReceipt,
  letEscape,
  type MaybePromise,
  type Platform,
  type Principal,
  type PublishOptions,
  type PublishReceipt,
  type PublishResult,
} from '../../ports/index.ts'
import { isPromise } from '../maybe-promise.ts'
import type { MessageWaiter } from '../partitions/accumulator.ts'
import type { StoredBatch, TopicPartition } from '../partitions/topic-partition.ts'
import type { MessageDedup } from '../producers/message-dedup.ts'
import { scheduleMessage } from '../schedule/schedule-publish.ts'
import type { Scheduler } from '../schedule/scheduler.ts'
import type { Hooks } from '../seams.ts'
import type { DurabilityOffer } from '../topics/durability-offer.ts'
import { type Topic, topicDeletedError } from '../topics/topic.ts'
import { type BatchPublish, publishNewRecords } from './batch-dedup.ts'
import { MessageIds } from './message-ids.ts'
import type { PublishTraffic } from './traffic.ts'

export interface PublisherParts {
  readonly hooks: Hooks
  readonly platform: Platform
  readonly limits: Limits
  readonly offer: DurabilityOffer
  readonly traffic: PublishTraffic
  /** Undefined in a worker that has none: what is to be delivered later is published elsewhere. */
  readonly scheduler: Scheduler | undefined
  readonly expansion: Expansion
}

/** What a record takes beside key, headers and payload: its varints, and the header that carries its id. */
const recordOverheadBytes = 64

export class Publisher {
  readonly #parts: PublisherParts
  /** Makes the batch of one that guards are shown. */
  readonly #guardBuilder: BatchBuilder

  readonly #ids: MessageIds

  constructor(parts: PublisherParts) {
    this.#parts = parts
    this.#ids = new MessageIds(parts.platform.random)
    this.#guardBuilder = new BatchBuilder({ checksum: parts.platform.checksum })
  }

  /**
   * Publishes whole batches, back to back. All are checked before the first is stored.
   * @param mayStore asked in the turn in which something is stored, and not of what is stored already; throws when it must
   *   not be: so a publish that comes again is answered as the first time, though it would not be let in any more
   * @param ownMade see `verifyBatch`
   * @throws see `Session.publishBatch`
   */
  publishBatch(
    topic: Topic,
    index: number,
    bytes: BatchBytes,
    options: PublishOptions | undefined,
    principal: Principal,
    mayStore?: () => void,
    ownMade = false,
  ): MaybePromise<BatchReceipt> {
    const { traffic } = this.#parts
    const enteredMs = traffic.entered()
    let recordCount = 0
    try {
      const durability = this.#durability(topic, options)
      const partition = topic.partition(index)
      if (!(bytes instanceof Uint8Array)) {
        throw new RatatoskrError('RTK_INVALID_ARGUMENT', `a batch is bytes, got ${quoteForMessage(bytes)}`)
      }
      const single = bytes.length < batchHeaderBytes || batchSizeOf(bytes) === bytes.length
      recordCount = single ? verifyBatch(bytes, topic.batchRules, ownMade) : this.#verifyAll(topic, bytes)
      this.#guard(topic, index, recordCount, bytes, principal)
      const receipt =
        single && topic.dedup === undefined
          ? receiptOf(
              topic,
              partition,
              partition.append(bytes, recordCount, durability, enteredMs, mayStore),
              recordCount,
              durability,
            )
          : this.#store({ topic, partition, bytes, durability, enteredMs, mayStore }, recordCount)
      if (!isPromise(receipt)) return receipt
      return receipt.then(undefined, (error) => {
        throw this.#failed(topic, index, recordCount, bytes.length, error, enteredMs)
      }) as Promise<BatchReceipt>
    } catch (error) {
      throw this.#failed(topic, index, recordCount, bytes?.length ?? 0, error, enteredMs)
    }
  }

  /** Stores batches that are verified, or finds that they are stored. */
  #store(publish: Omit<BatchPublish, 'dedup'>, recordCount: number): MaybePromise<BatchReceipt> {
    const { topic, partition, durability } = publish
    const { dedup } = topic
    if (dedup !== undefined)
      return publishNewRecords({ ...publish, dedup }, this.#parts.expansion, this.#parts.platform)
    return receiptOf(topic, partition, this.#appendAll(publish, recordCount), recordCount, durability)
  }

  /** Publishes one message. @param mayStore see `publishBatch` @throws see `Session.publish` */
  publish(
    topic: Topic,
    message: OutgoingMessage,
    options: PublishOptions | undefined,
    principal: Principal,
    mayStore?: () => void,
  ): Promise<PublishReceipt> {
    return new Promise((resolve, reject) => {
      this.#add(topic, message, this.#durability(topic, options), principal, mayStore, (result) => {
        if ('error' in result) reject(result.error)
        else resolve(result)
      })
    })
  }

  /** Publishes many messages, each on its own. @param mayStore see `publishBatch` @throws see `Session.publishMany` */
  publishMany(
    topic: Topic,
    messages: readonly OutgoingMessage[],
    options: PublishOptions | undefined,
    principal: Principal,
    mayStore?: () => void,
  ): Promise<readonly PublishResult[]> {
    const durability = this.#durability(topic, options)
    this.#assertMany(messages)
    if (messages.length === 0) return Promise.resolve([])
    return new Promise((resolve) => {
      const results = new Array<PublishResult>(messages.length)
      let missing = messages.length
      for (let place = 0; place < messages.length; place++) {
        this.#add(topic, messages[place], durability, principal, mayStore, (result) => {
          results[place] = result
          if (--missing === 0) resolve(results)
        })
      }
    })
  }

  /** Checks one message and adds it to its partition's batch. `settle` is called exactly once. */
  #add(
    topic: Topic,
    message: OutgoingMessage,
    durability: Durability,
    principal: Principal,
    mayStore: (() => void) | undefined,
    settle: (result: PublishResult) => void,
  ): void {
    const { platform, limits, traffic } = this.#parts
    const enteredMs = traffic.entered()
    let sizeBytes = 0
    let index: number | undefined
    try {
      if (topic.deleted) throw topicDeletedError(topic.text)
      sizeBytes = validateOutgoingMessage(message, limits, topic.messageBytesMax)
      const partition = choosePartition(topic, message)
      index = partition.index
      const idBytes = message.id === undefined ? this.#ids.next() : parseUuid(message.id)
      const id = formatUuid(idBytes)
      const nowMs = platform.clock.now()
      const { deliverAtMs, expiresAtMs } = deliveryTimesOf(message, nowMs)
      const record = {
        payload: message.payload,
        key: message.key,
        headers: message.headers,
        id: idBytes,
        expiresAtMs,
        timestampMs: message.timestampMs ?? nowMs,
      }
      if (this.#parts.hooks.guards('publish')) {
        this.#guardBuilder.add(record)
        this.#guard(topic, index, 1, this.#guardBuilder.build(), principal)
      }
      const again = (): void => this.#add(topic, message, durability, principal, mayStore, settle)
      if (topic.dedup !== undefined && answered(topic, topic.dedup, idBytes, settle, again)) return
      if (deliverAtMs !== undefined) {
        const due = { record, deliverAtMs, message, durability, enteredMs, mayStore }
        scheduleMessage(this.#scheduler, topic, due, settle)
        return
      }
      mayStore?.()
      const overheadBytes = recordOverheadBytes + (expiresAtMs === undefined ? 0 : expiryHeaderSize)
      const waiter: MessageWaiter = {
        stored: (offset, reached) => settle({ id, partition: partition.index, offset, durability: reached }),
        failed: (error) => settle({ error }),
      }
      // A message that is refused is not on its way: its id is taken only after that.
      if (topic.dedup !== undefined) partition.admit(1, sizeBytes + overheadBytes)
      const waiting = topic.dedup?.claiming(idBytes, partition.index, waiter) ?? waiter
      partition.appendMessage(record, sizeBytes + overheadBytes, durability, enteredMs, waiting)
    } catch (error) {
      settle({ error: this.#failed(topic, index, 1, sizeBytes, error, enteredMs) })
    }
  }

  get #scheduler(): Scheduler {
    const { scheduler } = this.#parts
    if (scheduler !== undefined) return scheduler
    throw new RatatoskrError('RTK_NOT_SUPPORTED', 'messages cannot be scheduled here')
  }

  #verifyAll(topic: Topic, bytes: BatchBytes): number {
    const { messagesPerBatchMax } = this.#parts.limits
    let recordCount = 0
    for (let at = 0; at < bytes.length; ) {
      // What is no whole batch goes to verifyBatch as it is, which says what is wrong with it.
      const end = at + batchHeaderBytes <= bytes.length ? at + batchSizeOf(bytes, at) : bytes.length
      const next = end > at && end <= bytes.length ? end : bytes.length
      recordCount += verifyBatch(bytes.subarray(at, next), topic.batchRules)
      at = next
    }
    if (recordCount > messagesPerBatchMax) {
      throw new RatatoskrError(
        'RTK_BATCH_TOO_LARGE',
        `a request holds at most ${messagesPerBatchMax} messages (messagesPerBatchMax), got ${recordCount}`,
      )
    }
    return recordCount
  }

  /** Appends several batches in order. @returns the first one's offset when the last one has settled, as appends settle in order */
  #appendAll(
    { partition, bytes, durability, enteredMs, mayStore }: Omit<BatchPublish, 'dedup'>,
    recordCount: number,
  ): MaybePromise<number | StoredBatch> {
    partition.admit(recordCount, bytes.length)
    const appended: MaybePromise<number | StoredBatch>[] = []
    let accepted = 0
    for (let at = 0; at < bytes.length; at += batchSizeOf(bytes, at)) {
      const batch = bytes.subarray(at, at + batchSizeOf(bytes, at))
      try {
        appended.push(partition.append(batch, recordCountOf(batch), durability, enteredMs, mayStore))
        accepted += recordCountOf(batch)
      } catch (error) {
        appended.push(Promise.reject(accepted === 0 ? error : partlyAccepted(error, accepted, recordCount)))
        break
      }
    }
    if (!appended.some(isPromise)) return together(appended as (number | StoredBatch)[])
    return Promise.all(appended).then(together)
  }

  #guard(
    topic: Topic,
    partition: number,
    recordCount: number,
    batch: BatchBytes,
    principal: Principal,
  ): void {
    const { hooks } = this.#parts
    if (hooks.guards('publish')) {
      letEscape(batch) // guards may keep what they are shown
      hooks.check('publish', {
        topic: topic.text,
        topicId: topic.id,
        partition,
        recordCount,
        batch,
        principal,
      })
    }
  }

  /** The level that this publish gets: what the topic demands, or more when the caller asks for more. */
  #durability(topic: Topic, options: PublishOptions | undefined): Durability {
    const least = topic.config.durability
    const asked = options?.durability
    if (asked !== undefined && !isDurability(asked)) {
      throw new RatatoskrError('RTK_INVALID_ARGUMENT', `unknown durability ${quoteForMessage(asked)}`)
    }
    return this.#parts.offer.levelFor(asked === undefined || isAtLeast(least, asked) ? least : asked)
  }

  #assertMany(messages: unknown): asserts messages is readonly OutgoingMessage[] {
    if (!Array.isArray(messages)) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `messages must be a list, got ${quoteForMessage(messages)}`,
      )
    }
    const { messagesPerBatchMax } = this.#parts.limits
    if (messages.length > messagesPerBatchMax) {
      throw new RatatoskrError(
        'RTK_BATCH_TOO_LARGE',
        `a request holds at most ${messagesPerBatchMax} messages (messagesPerBatchMax), got ${messages.length}`,
      )
    }
  }

  #failed(
    topic: Topic,
    partition: number | undefined,
    recordCount: number,
    sizeBytes: number,
    error: unknown,
    enteredMs: number,
  ): RatatoskrError {
    const reason = toRatatoskrError(error)
    this.#parts.traffic.failed(topic.text, partition, recordCount, sizeBytes, reason, enteredMs)
    return reason
  }
}

/** The same failure, for a request whose first batches were taken: the caller must know that not nothing was stored. */
function partlyAccepted(error: unknown, accepted: number, recordCount: number): RatatoskrError {
  const { code, message, details } = toRatatoskrError(error, 'RTK_STORE_FAILED')
  return new RatatoskrError(
    code,
    `${message}; the first ${accepted} of ${recordCount} messages of the request were accepted`,
    { cause: error, details: { ...details, acceptedMessages: accepted } },
  )
}

/** What several batches of one request came to: repeated only when all of them are. */
function together(appended: readonly (number | StoredBatch)[]): number | StoredBatch {
  const [first] = appended
  if (typeof first === 'number' || appended.every((one) => typeof one !== 'number')) return first
  return first.baseOffset
}

function receiptOf(
  topic: Topic,
  partition: TopicPartition,
  appended: MaybePromise<number | StoredBatch>,
  recordCount: number,
  durability: Durability,
): MaybePromise<BatchReceipt> {
  if (typeof appended === 'number')
    return { partition: partition.index, baseOffset: appended, recordCount, durability }
  if (!isPromise(appended)) return repeatReceipt(topic, partition, appended as StoredBatch, recordCount)
  return (appended as Promise<number | StoredBatch>).then((at) =>
    typeof at === 'number'
      ? { partition: partition.index, baseOffset: at, recordCount, durability }
      : repeatReceipt(topic, partition, at, recordCount),
  )
}

/** The receipt of batches that their producer has sent before. */
const repeatReceipt = (
  topic: Topic,
  partition: TopicPartition,
  { baseOffset, durability }: StoredBatch,
  recordCount: number,
): BatchReceipt => ({
  partition: partition.index,
  baseOffset,
  recordCount,
  durability: durability ?? topic.config.durability,
  duplicate: true,
})

/**
 * Answers a message whose id is known already: with where it is stored, or by publishing it `again` when the other one, which
 * is on its way, has settled. @returns false when the id is new
 */
function answered(
  topic: Topic,
  dedup: MessageDedup,
  idBytes: Uint8Array,
  settle: (result: PublishResult) => void,
  again: () => void,
): boolean {
  const entry = dedup.find(idBytes)
  if (entry === -1) return false
  const place = dedup.placeOf(entry)
  if (place === undefined) dedup.whenSettled(entry, again)
  else settle({ id: formatUuid(idBytes), ...place, durability: topic.config.durability, duplicate: true })
  return true
}

function choosePartition(topic: Topic, message: OutgoingMessage): TopicPartition {
  if (message.partition !== undefined) return topic.partition(message.partition)
  if (message.key !== undefined) return topic.partition(partitionForKey(message.key, topic.partitions.length))
  return topic.stickyPartition()
}

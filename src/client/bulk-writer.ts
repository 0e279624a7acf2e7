/** Adds the messages of a bulk, as fast as their batches are stored and never more than the producer's buffer holds. */
import type { Durability, LeaseProof } from '../ports/index.ts'
import type { BulkRun } from './bulk-run.ts'
import { knownOptions, messageNames } from './known-options.ts'
import { asOutgoing, isBare, isScheduled, type MessageToPublish } from './outgoing.ts'
import type { ProducerBuffer } from './producer-buffer.ts'
import type { BulkPublish } from './publish-owners.ts'
import { notInBulk } from './scheduled-publish.ts'
import type { TopicSender } from './topic-sender.ts'

export interface BulkWriterOptions {
  readonly sender: TopicSender
  readonly buffer: ProducerBuffer
  readonly bulk: BulkPublish
  readonly durability: Durability | undefined
  readonly lease: LeaseProof | undefined
  /** Deadline of each batch. */
  readonly timeoutMs: number
  /** @throws RTK_CLOSED */
  readonly assertOpen: () => void
}

export class BulkWriter {
  readonly #options: BulkWriterOptions
  readonly #sender: TopicSender
  readonly #buffer: ProducerBuffer
  readonly #bulk: BulkPublish
  /** Where the last message went when it was bytes alone: the next of its kind go there too. */
  #run: BulkRun | undefined

  constructor(options: BulkWriterOptions) {
    this.#options = options
    this.#sender = options.sender
    this.#buffer = options.buffer
    this.#bulk = options.bulk
  }

  /** @throws the first failure; what was added goes on its way */
  async write(messages: Iterable<MessageToPublish> | AsyncIterable<MessageToPublish>): Promise<void> {
    const bulk = this.#bulk
    await this.#sender.resolved()
    if (Symbol.asyncIterator in messages) {
      for await (const message of messages) {
        bulk.resumed()
        if (!this.#addAny(message)) await this.#ready()
        if (bulk.isStopped) break
      }
      return
    }
    const iterator = messages[Symbol.iterator]()
    while (this.#addFrom(iterator)) {
      await this.#ready()
      bulk.resumed()
    }
  }

  /** Adds messages in a row. @returns true when the next one must wait, false when there is none, or none is wanted */
  #addFrom(iterator: Iterator<MessageToPublish, unknown>): boolean {
    const bulk = this.#bulk
    try {
      for (;;) {
        if (bulk.isStopped) {
          iterator.return?.()
          return false
        }
        const next = iterator.next()
        if (next.done === true) return false
        if (!this.#add(next.value, iterator)) return true
      }
    } finally {
      if (this.#run !== undefined) this.#buffer.took(this.#run.counted())
    }
  }

  /** @returns false when the next one must wait */
  #add(message: MessageToPublish, iterator: Iterator<unknown, unknown>): boolean {
    const bulk = this.#bulk
    if (this.#run !== undefined && bulk.sharesTime && isBare(message)) {
      const { payload } = message
      if (payload.length <= this.#sender.messageBytesMax && this.#run.add(payload, bulk.timestampMs)) {
        bulk.shared()
        return true
      }
    }
    try {
      return this.#addAny(message)
    } catch (error) {
      try {
        iterator.return?.()
      } catch {} // what was first counts
      throw error
    }
  }

  #addAny(message: MessageToPublish): boolean {
    const { durability, lease, timeoutMs, assertOpen } = this.#options
    const bulk = this.#bulk
    const sender = this.#sender
    assertOpen()
    if (bulk.tick()) sender.refresh(bulk.monotonicMs)
    // Those of a bulk are made alike: what is misspelt is so in the first.
    if (bulk.messageCount === 0) knownOptions('a message', message, messageNames)
    const outgoing = asOutgoing(message)
    if (isScheduled(outgoing)) throw notInBulk()
    const partition = sender.addOfBulk(outgoing, bulk, durability, bulk.monotonicMs + timeoutMs, lease)
    this.#run = isBare(message) ? partition.runOf(bulk, this.#buffer.roomBytes) : undefined
    bulk.messageCount++
    return this.#buffer.hasRoom && sender.ready
  }

  async #ready(): Promise<void> {
    while (!this.#buffer.hasRoom) await this.#buffer.room()
    await this.#sender.resolved()
  }
}

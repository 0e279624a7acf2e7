/** Adds the messages of a bulk, as fast as their batches are stored and never more than the producer's buffer holds. */
import type { Durability, LeaseProof } from '../ports/index.ts'
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
  /** True when no more are to be added. */
  readonly stopped: () => boolean
}

export class BulkWriter {
  readonly #options: BulkWriterOptions
  readonly #sender: TopicSender
  readonly #buffer: ProducerBuffer
  readonly #bulk: BulkPublish

  constructor(options: BulkWriterOptions) {
    this.#options = options
    this.#sender = options.sender
    this.#buffer = options.buffer
    this.#bulk = options.bulk
  }

  /** @throws the first failure; what was added goes on its way */
  async write(messages: Iterable<MessageToPublish> | AsyncIterable<MessageToPublish>): Promise<void> {
    const { stopped } = this.#options
    await this.#sender.resolved()
    if (Symbol.asyncIterator in messages) {
      for await (const message of messages) {
        this.#bulk.resumed()
        if (!this.#add(message)) await this.#ready()
        if (stopped()) break
      }
      return
    }
    for (const message of messages) {
      if (!this.#add(message)) {
        await this.#ready()
        this.#bulk.resumed()
      }
      if (stopped()) break
    }
  }

  /** @returns false when the next one must wait */
  #add(message: MessageToPublish): boolean {
    const bulk = this.#bulk
    if (bulk.partition !== undefined && bulk.sharesTime && isBare(message)) {
      const { durability, lease } = this.#options
      const { payload } = message
      const fits = payload.length <= this.#sender.messageBytesMax
      if (fits && bulk.partition.addBareOfBulk(payload, bulk, durability, lease)) {
        bulk.shared()
        return this.#buffer.hasRoom
      }
    }
    return this.#addAny(message)
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
    bulk.partition = isBare(message) ? partition : undefined
    bulk.messageCount++
    return this.#buffer.hasRoom && sender.ready
  }

  async #ready(): Promise<void> {
    while (!this.#buffer.hasRoom) await this.#buffer.room()
    await this.#sender.resolved()
  }
}

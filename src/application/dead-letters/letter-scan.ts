/** Reading the messages of a partition some at a time, past what is lost to damage. */
import type { Expansion } from '../../domain/batch/expand.ts'
import { batchEndOf, batchStarts, endOffsetOf } from '../../domain/batch/header.ts'
import { messagesOf } from '../../domain/batch/messages.ts'
import { isRatatoskrError } from '../../domain/errors.ts'
import type { BatchBytes, Message } from '../../ports/index.ts'
import { nextReadable } from '../gaps.ts'
import type { LiveTopic, ReadablePartition } from '../seams.ts'

const readBytes = 1024 * 1024

export class LetterScan {
  readonly log: ReadablePartition
  readonly #topic: LiveTopic
  readonly #expansion: Expansion

  constructor(topic: LiveTopic, log: ReadablePartition, expansion: Expansion) {
    this.#topic = topic
    this.log = log
    this.#expansion = expansion
  }

  /**
   * Shows messages from `offset` on, about a mebibyte of them, until `visit` has had enough. Batches that cannot be
   * decoded are passed over: the broker's own can.
   * @param visit views on what was read; false: this one was not looked at, and no more are wanted
   * @returns where to go on; the log's end when there is nothing more
   * @throws what a read throws
   */
  async some(offset: number, visit: (message: Message) => boolean): Promise<number> {
    const { log } = this
    const from = Math.max(offset, log.startOffset)
    if (from >= log.stableOffset) return Math.max(from, log.stableOffset)
    let bytes: BatchBytes
    try {
      bytes = await log.read(from, readBytes)
    } catch (error) {
      const next = nextReadable(error, from)
      if (next === undefined) throw error
      return next
    }
    const source = {
      topic: this.#topic.text,
      topicId: this.#topic.id,
      partition: log.index,
      expansion: this.#expansion,
    }
    for (const start of batchStarts(bytes)) {
      try {
        const batch = bytes.subarray(start, batchEndOf(bytes, start))
        for (const message of messagesOf(batch, source, from)) if (!visit(message)) return message.offset
      } catch (error) {
        if (!isRatatoskrError(error)) throw error
      }
    }
    return endOffsetOf(bytes) ?? log.stableOffset
  }
}

/**
 * Publishes of messages that are to be delivered later. They go to the broker one call at a time and in no batch: a record
 * batch is stored in its partition as it is, and these are not yet for any partition.
 */
import {
  type OutgoingMessage,
  type PublishOptions,
  type PublishResult,
  RatatoskrError,
} from '../ports/index.ts'
import type { Connection } from './connection.ts'
import { detached, isScheduled } from './outgoing.ts'

export class ScheduledPublishes {
  readonly #connection: Connection
  readonly #open = new Set<Promise<unknown>>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Resolves when all that are under way are settled. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#open)
  }

  /**
   * Hands the messages to the broker, which keeps them. A call whose answer is lost is not made again.
   * @throws what concerns them all: RTK_TOPIC_NOT_FOUND, RTK_DISCONNECTED, …
   */
  async publish(
    topic: string,
    messages: readonly OutgoingMessage[],
    options: PublishOptions,
  ): Promise<readonly PublishResult[]> {
    const kept = messages.map(detached)
    const sent = Promise.resolve(
      this.#connection.use((link) => link.publishMany(topic, kept, options), options.signal),
    )
    this.#open.add(sent)
    try {
      return await sent
    } finally {
      this.#open.delete(sent)
    }
  }

  /** Takes the messages with a delivery time out of a list. @returns them, and where they stood */
  static takeFrom(messages: (OutgoingMessage | undefined)[]): {
    readonly messages: readonly OutgoingMessage[]
    readonly places: readonly number[]
  } {
    const taken: OutgoingMessage[] = []
    const places: number[] = []
    for (const [place, message] of messages.entries()) {
      if (message === undefined || !isScheduled(message)) continue
      taken.push(message)
      places.push(place)
      messages[place] = undefined
    }
    return { messages: taken, places }
  }
}

/** What a bulk says to a message with a delivery time. */
export const notInBulk = (): RatatoskrError =>
  new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    'addAll takes no messages with deliverAtMs or delayMs; publish them with publish or publishMany',
  )

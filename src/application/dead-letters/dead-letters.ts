/**
 * Stores messages that queue groups gave up in their dead letter topics: the message as it was, and in headers why, when and
 * from where.
 */
import type { Expansion } from '../../domain/batch/expand.ts'
import { burialsOf } from '../../domain/dead-letters/dead-letter-headers.ts'
import { deadLetterRefOf, isSameTopic } from '../../domain/dead-letters/dead-letter-topic.ts'
import { formatTopicRef, parseTopicRef, type TopicRef } from '../../domain/names.ts'
import type { ComponentHealth, Platform, Principal, StateStore } from '../../ports/index.ts'
import type { Burial, DeadLetter, DeadLetters, Queues } from '../seams.ts'
import type { DurabilityOffer } from '../topics/durability-offer.ts'
import type { Topic } from '../topics/topic.ts'
import type { TopicRegistry } from '../topics/topic-registry.ts'
import { buriedMessage } from './buried-message.ts'
import { Graveyard } from './graveyard.ts'
import type { LetterIdentity } from './letter-positions.ts'
import { statePrefix, topicIdOf } from './state-keys.ts'

export interface DeadLetterParts {
  readonly topics: TopicRegistry
  readonly platform: Platform
  readonly expansion: Expansion
  readonly state: StateStore
  readonly offer: DurabilityOffer
  readonly queues: Pick<Queues, 'owes'>
}

/**
 * Times that a message is buried in topics that groups name, each of which it fails in again: topics that are each other's
 * dead letter topics would pass it on without end.
 */
const burialsMax = 8

/** In whose name dead letter topics are made. */
const broker: Principal = { name: 'ratatoskr', namespace: 'default' }

export class TopicDeadLetters implements DeadLetters {
  readonly #parts: DeadLetterParts
  /** By the name of their topics. */
  readonly #graveyards = new Map<string, Graveyard>()
  /** Topics of which it is said that their letters go round. */
  readonly #circling = new Set<string>()

  constructor(parts: DeadLetterParts) {
    this.#parts = parts
  }

  /** Dead letter topics that letters wait for. */
  get trouble(): readonly ComponentHealth[] {
    const trouble: ComponentHealth[] = []
    for (const [text, { failure }] of this.#graveyards) {
      if (failure === undefined) continue
      trouble.push({
        name: `dead letters to ${text}`,
        status: 'degraded',
        restarts: 0,
        lastError: failure.code,
      })
    }
    return trouble
  }

  async bury(letter: DeadLetter): Promise<Burial | undefined> {
    const ref = this.#refFor(letter)
    if (ref === undefined) return undefined
    // What fails in a dead letter topic is a dead letter already.
    if (isSameTopic(ref, letter.topic.ref)) return { topic: letter.topic.text, confirm: () => {} }
    const text = formatTopicRef(ref)
    let graveyard = this.#graveyards.get(text)
    if (graveyard === undefined) {
      const { platform, expansion, offer, state } = this.#parts
      graveyard = new Graveyard({
        platform,
        expansion,
        offer,
        state,
        logger: platform.logger,
        owes: (identity) => this.#owes(identity),
        topicFor: (first) => this.#topicFor(ref, first),
      })
      this.#graveyards.set(text, graveyard)
    }
    return graveyard.bury(letter)
  }

  /** A new run: what the one before knew may not be so any more. Forgets what is stored of topics that are gone. */
  async start(): Promise<void> {
    this.#graveyards.clear()
    this.#circling.clear()
    const { state, topics, platform } = this.#parts
    const living = new Set(topics.list().map(({ id }) => id))
    try {
      for await (const { key } of state.list(statePrefix)) {
        if (!living.has(topicIdOf(key))) await state.delete(key)
      }
    } catch (error) {
      platform.logger.warn('what is stored of dead letter topics that are gone could not be removed', {
        error,
      })
    }
  }

  /** Notes which letters cannot come again, so that the next start need not look for them. */
  async stop(): Promise<void> {
    await Promise.all([...this.#graveyards.values()].map((graveyard) => graveyard.save()))
  }

  #refFor(letter: DeadLetter): TopicRef | undefined {
    const { topic, group, config } = letter
    const named = deadLetterRefOf(topic.ref, config.deadLetterTopic)
    const isNamed = config.deadLetterTopic !== '' && named !== undefined
    // The message is read for this where it can go round alone: the default ends every chain.
    if (!isNamed || this.#burialsOf(letter) < burialsMax) return named
    const end = deadLetterRefOf(topic.ref, '')
    if (!this.#circling.has(topic.text)) {
      this.#circling.add(topic.text)
      this.#parts.platform.logger.error(
        'dead letters go from topic to topic and fail in each: those that did too often go to the default dead letter topic instead of the one that the group names; give one of these topics no deadLetterTopic',
        {
          topic: topic.text,
          group,
          named: formatTopicRef(named),
          deadLetterTopic: end && formatTopicRef(end),
          burialsMax,
        },
      )
    }
    return end
  }

  /** One that cannot be decoded is no letter yet. */
  #burialsOf(letter: DeadLetter): number {
    try {
      return burialsOf(buriedMessage(letter, this.#parts.expansion))
    } catch {
      return 0
    }
  }

  #owes({ topic, group, partition, offset, id: _ }: LetterIdentity): boolean {
    const { topics, queues } = this.#parts
    const source = topics.get(parseTopicRef(topic))
    if (source === undefined) return false
    try {
      return queues.owes(source, group, partition, offset)
    } catch {
      return true // delivery has stopped, and with it whoever could tell: the next run asks again
    }
  }

  async #topicFor(ref: TopicRef, letter: DeadLetter): Promise<Topic> {
    const { topics } = this.#parts
    const existing = topics.get(ref)
    if (existing !== undefined) return existing
    const config = {
      partitions: 1,
      retentionMs: letter.config.deadLetterRetentionMs,
      retentionMessages: -1,
      retentionBytes: -1,
      retention: 'limits' as const,
      dedupWindowMs: 0,
      durability: letter.topic.config.durability,
    }
    try {
      return (await topics.create(ref, config, broker)).topic
    } catch (error) {
      const other = topics.get(ref) // somebody was faster, with settings of his own
      if (other !== undefined) return other
      throw error
    }
  }
}

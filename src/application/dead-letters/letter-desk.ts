/** What sessions ask of dead letters: listing them, publishing them again, letting go of them. */
import type { Expansion } from '../../domain/batch/expand.ts'
import {
  deadLetterRefOf,
  defaultDeadLetterRef,
  isDeadLetterName,
  isSameTopic,
} from '../../domain/dead-letters/dead-letter-topic.ts'
import { letterTest } from '../../domain/dead-letters/letter-filter.ts'
import { RatatoskrError } from '../../domain/errors.ts'
import { formatTopicRef, parseTopicRef, quoteForMessage, type TopicRef } from '../../domain/names.ts'
import type {
  DeadLetterFilter,
  DeadLetterPage,
  DeadLetterRequest,
  Platform,
  PurgeRequest,
  PurgeResult,
  RedriveRequest,
  RedriveResult,
  StateStore,
  StoredDeadLetter,
} from '../../ports/index.ts'
import { abortError, throwIfAborted } from '../calls.ts'
import type { Queues } from '../seams.ts'
import type { DurabilityOffer } from '../topics/durability-offer.ts'
import { NameLocks } from '../topics/name-locks.ts'
import type { Topic } from '../topics/topic.ts'
import { type TopicRegistry, topicNotFound } from '../topics/topic-registry.ts'
import { DoneLetters } from './done-letters.ts'
import { letterPartition } from './graveyard.ts'
import { type Letter, type LetterQuery, storedLetter, walkLetters } from './letter-reader.ts'
import { LetterScan } from './letter-scan.ts'
import { publishAgain, type RedriveParts, resolveIntent } from './redrive-step.ts'

export interface LetterDeskParts {
  readonly topics: TopicRegistry
  readonly platform: Platform
  readonly expansion: Expansion
  readonly state: StateStore
  readonly offer: DurabilityOffer
  readonly queues: Pick<Queues, 'configOf'>
}

/** Times that a message is published again before it is taken for one that never will be handled. */
const redrivesMax = 3
const listedMax = 1_000
const listedDefault = 100
const redrivenMax = 10_000
const redrivenDefault = 1_000
const rateMax = 1_000_000
/** Bytes of one page, about. */
const pageBytes = 1024 * 1024
/** What one step takes. */
const stepLetters = 500
const stepBytes = 4 * 1024 * 1024
/** How long one call begins steps. */
const callMs = 1_000
/** Steps of a redrive with a rate, a second: that many at least, when the rate allows it. */
const stepsPerSecond = 10

/** A dead letter topic, and which of its letters are meant. */
interface Opened {
  readonly topic: Topic
  readonly scan: LetterScan
  readonly done: DoneLetters
  readonly query: LetterQuery
}

interface Step {
  matched: number
  refused: number
  skipped: number
  readonly letters: Letter[]
  next: number | undefined
}

export class LetterDesk {
  readonly #parts: LetterDeskParts
  readonly #redrive: RedriveParts
  readonly #locks = new NameLocks()
  readonly #done = new Map<string, DoneLetters>()

  constructor(parts: LetterDeskParts) {
    this.#parts = parts
    const { platform, expansion, offer, topics } = parts
    this.#redrive = {
      platform,
      expansion,
      offer,
      hasQueue: (topic, group) => parts.queues.configOf(topic, group) !== undefined,
      topicOf: (topicId) => topics.list().find(({ id }) => id === topicId),
    }
  }

  /** A new run: what is stored counts. */
  start(): void {
    this.#done.clear()
  }

  /** Resolves when no step is under way. */
  stop(): Promise<void> {
    return this.#locks.idle()
  }

  /** The topic that a request is about. @throws RTK_TOPIC_NAME_INVALID */
  topicFor(source: TopicRef, { group, deadLetterTopic }: DeadLetterFilter): TopicRef {
    if (deadLetterTopic !== undefined) return parseTopicRef(deadLetterTopic, source.namespace)
    const topic = group === undefined ? undefined : this.#parts.topics.get(source)
    const config = topic && this.#parts.queues.configOf(topic, String(group))
    const configured = config && deadLetterRefOf(source, config.deadLetterTopic)
    return configured ?? (isDeadLetterName(source.name) ? source : defaultDeadLetterRef(source))
  }

  /** @throws see `Session.deadLetters` */
  async list(source: TopicRef, ref: TopicRef, request: DeadLetterRequest): Promise<DeadLetterPage> {
    const max = bounded('max', request.max ?? listedDefault, 1, listedMax)
    const after = bounded('after', request.after ?? 0, 0, Number.MAX_SAFE_INTEGER)
    const query = queryOf(source, ref, request)
    const deadLetterTopic = formatTopicRef(ref)
    const letters: StoredDeadLetter[] = []
    const topic = this.#parts.topics.get(ref)
    if (topic === undefined) {
      this.#assertKnown(source)
      return { deadLetterTopic, letters }
    }
    const { scan, done } = await this.#locks.run(topic.id, () => this.#open(topic, query))
    let bytes = 0
    const next = await walkLetters(
      scan,
      done,
      query,
      after,
      (letter) => {
        if (
          letters.length === max ||
          (letters.length > 0 && bytes + letter.message.payload.length > pageBytes)
        )
          return false
        bytes += letter.message.payload.length
        letters.push(storedLetter(letter))
        return true
      },
      () => {},
    )
    return { deadLetterTopic, letters, ...(next !== undefined && { next }) }
  }

  /**
   * @param mayPublish throws when the caller may not publish to a topic
   * @throws see `Session.redriveDeadLetters`
   */
  async redrive(
    source: TopicRef,
    ref: TopicRef,
    request: RedriveRequest,
    mayPublish: (topic: string) => void,
    signal: AbortSignal | undefined,
  ): Promise<RedriveResult> {
    const { dryRun = false, force = false, everyGroup = false, target } = request
    const max = bounded('max', request.max ?? redrivenDefault, 1, redrivenMax)
    const after = bounded('after', request.after ?? 0, 0, Number.MAX_SAFE_INTEGER)
    const rate = request.rate === undefined ? undefined : bounded('rate', request.rate, 1, rateMax)
    const query = queryOf(source, ref, request)
    if (target !== undefined && isSameTopic(parseTopicRef(target, source.namespace), ref)) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `dead letters are not redriven to ${formatTopicRef(ref)}, where they are; name another target`,
      )
    }
    const counts = { matched: 0, redriven: 0, refused: 0, skipped: 0 }
    const deadLetterTopic = formatTopicRef(ref)
    const topic = this.#parts.topics.get(ref)
    if (topic === undefined) {
      this.#assertKnown(source)
      return { deadLetterTopic, ...counts }
    }
    const { clock } = this.#parts.platform
    const beganMs = clock.monotonic()
    const atOnce = rate === undefined ? stepLetters : Math.min(stepLetters, Math.ceil(rate / stepsPerSecond))
    let next: number | undefined = after
    while (next !== undefined && counts.redriven < max) {
      throwIfAborted(signal)
      const from: number = next
      const step = await this.#locks.run(topic.id, async () => {
        const opened = await this.#open(topic, query)
        const taken = await this.#take(opened, from, Math.min(atOnce, max - counts.redriven), force)
        const topicFor = this.#targets(source, target, mayPublish)
        for (const letter of taken.letters) topicFor(letter)
        if (!dryRun && taken.letters.length > 0)
          await publishAgain(topic, taken.letters, { topicFor, everyGroup }, opened.done, this.#redrive)
        return taken
      })
      counts.matched += step.matched
      counts.refused += step.refused
      counts.skipped += step.skipped
      counts.redriven += step.letters.length
      next = step.next
      if (rate !== undefined && !dryRun)
        await this.#pause(beganMs + (counts.redriven * 1_000) / rate - clock.monotonic(), signal)
      if (clock.monotonic() - beganMs >= callMs) break
    }
    return { deadLetterTopic, ...counts, ...(next !== undefined && { next }) }
  }

  /** @throws see `Session.purgeDeadLetters` */
  async purge(
    source: TopicRef,
    ref: TopicRef,
    request: PurgeRequest,
    signal: AbortSignal | undefined,
  ): Promise<PurgeResult> {
    const max = bounded('max', request.max ?? redrivenMax, 1, redrivenMax)
    const after = bounded('after', request.after ?? 0, 0, Number.MAX_SAFE_INTEGER)
    const query = queryOf(source, ref, request)
    const counts = { purged: 0, skipped: 0 }
    const deadLetterTopic = formatTopicRef(ref)
    const topic = this.#parts.topics.get(ref)
    if (topic === undefined) {
      this.#assertKnown(source)
      return { deadLetterTopic, ...counts }
    }
    throwIfAborted(signal)
    const next = await this.#locks.run(topic.id, async () => {
      const { scan, done } = await this.#open(topic, query)
      const offsets: number[] = []
      const at = await walkLetters(
        scan,
        done,
        query,
        after,
        ({ message }) => offsets.length < max && offsets.push(message.offset) > 0,
        () => counts.skipped++,
      )
      await done.finish(offsets, done.intent)
      counts.purged = offsets.length
      return at
    })
    return { deadLetterTopic, ...counts, ...(next !== undefined && { next }) }
  }

  /** Of a topic that was deleted there may be letters; where there are none, its name is a mistake. @throws RTK_TOPIC_NOT_FOUND */
  #assertKnown(source: TopicRef): void {
    if (this.#parts.topics.get(source) === undefined) throw topicNotFound(source)
  }

  /** @throws RTK_UNAVAILABLE while its log is being recovered, what the state store throws */
  async #open(topic: Topic, query: LetterQuery): Promise<Opened> {
    const partition = topic.partition(letterPartition)
    if (partition.state !== 'online') {
      throw new RatatoskrError('RTK_UNAVAILABLE', `${topic.text} is being recovered; retry after a pause`)
    }
    let done = this.#done.get(topic.id)
    if (done === undefined) {
      done = await DoneLetters.load(this.#parts.state, topic.id, partition.stableOffset)
      this.#done.set(topic.id, done)
    }
    done.raise(partition.startOffset)
    await resolveIntent(topic, done, this.#redrive)
    return { topic, done, query, scan: new LetterScan(topic, partition, this.#parts.expansion) }
  }

  /** Letters of one step. */
  async #take({ scan, done, query }: Opened, from: number, max: number, force: boolean): Promise<Step> {
    const step: Step = { matched: 0, refused: 0, skipped: 0, letters: [], next: undefined }
    let bytes = 0
    step.next = await walkLetters(
      scan,
      done,
      query,
      from,
      (letter) => {
        // Without its batch's records there is no message that could be published.
        const isRefused = letter.facts.batchOffset !== undefined || (!force && letter.redrives >= redrivesMax)
        const { length } = letter.message.payload
        if (!isRefused && (step.letters.length === max || (bytes > 0 && bytes + length > stepBytes)))
          return false
        step.matched++
        if (isRefused) step.refused++
        else {
          step.letters.push(letter)
          bytes += length
        }
        return true
      },
      () => step.skipped++,
    )
    return step
  }

  /** Where letters go, each topic asked for once. */
  #targets(
    source: TopicRef,
    target: string | undefined,
    mayPublish: (topic: string) => void,
  ): (letter: Letter) => Topic {
    const found = new Map<string, Topic>()
    return ({ facts }) => {
      const text = target ?? facts.topic
      let topic = found.get(text)
      if (topic === undefined) {
        const ref = target === undefined ? parseTopicRef(text) : parseTopicRef(text, source.namespace)
        mayPublish(formatTopicRef(ref))
        topic = this.#parts.topics.get(ref)
        if (topic === undefined) throw topicNotFound(ref)
        found.set(text, topic)
      }
      return topic
    }
  }

  /** @throws RTK_CANCELLED, RTK_TIMEOUT */
  #pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (delayMs <= 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        timer[Symbol.dispose]()
        reject(abortError(signal as AbortSignal))
      }
      const timer = this.#parts.platform.clock.after(delayMs, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      })
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }
}

/** A dead letter topic that is asked for by its own name has all of its letters meant, wherever they come from. */
const queryOf = (source: TopicRef, ref: TopicRef, filter: DeadLetterFilter): LetterQuery => ({
  source: isSameTopic(source, ref) ? undefined : formatTopicRef(source),
  test: letterTest(filter),
})

function bounded(name: string, value: unknown, min: number, max: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max)
    return value as number
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${name} must be a whole number from ${min} to ${max}, got ${quoteForMessage(value)}`,
  )
}

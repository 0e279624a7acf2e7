/**
 * Writes letters to one dead letter topic: what comes while a batch is on its way goes with the next one.
 */
import { BatchBuilder, type RecordFields } from '../../domain/batch/builder.ts'
import type { Expansion } from '../../domain/batch/expand.ts'
import { deadLetterHeaders } from '../../domain/dead-letters/dead-letter-headers.ts'
import { type Durability, isAtLeast } from '../../domain/durability.ts'
import { RatatoskrError, toRatatoskrError } from '../../domain/errors.ts'
import { parseUuid } from '../../domain/message-id.ts'
import type { Platform } from '../../ports/index.ts'
import type { Burial, DeadLetter } from '../seams.ts'
import type { DurabilityOffer } from '../topics/durability-offer.ts'
import type { Topic } from '../topics/topic.ts'
import { type BuriedContent, buriedMessage, undecodedMessage } from './buried-message.ts'
import { type LetterIdentity, LetterPositions, type LetterPositionsParts } from './letter-positions.ts'
import { LetterScan } from './letter-scan.ts'

const lettersPerBatch = 1_000
const batchBytesTarget = 1024 * 1024

/** Batches that could not be decoded of which it is remembered that a letter has them. */
const keptBatchesMax = 64

/** The partition that letters are in, in the order of their burial. */
export const letterPartition = 0

export interface GraveyardParts extends LetterPositionsParts {
  readonly platform: Platform
  readonly expansion: Expansion
  readonly offer: DurabilityOffer
  /** The topic, which is created for the first letter. */
  topicFor(letter: DeadLetter): Promise<Topic>
}

interface Waiting {
  readonly letter: DeadLetter
  resolve(burial: Burial): void
  reject(error: unknown): void
}

/** What a letter says: its content, and for one that could not be decoded the first offset of its batch. */
interface Content {
  readonly content: BuriedContent
  readonly error: string
  readonly batchOffset: number | undefined
}

/** A letter as it is written. */
interface Read {
  readonly record: RecordFields
  readonly identity: LetterIdentity
}

/** A letter that is in the batch. */
interface Enclosed {
  readonly waiting: Waiting
  readonly identity: LetterIdentity
}

export class Graveyard {
  /** Why its last letter could not be stored. */
  failure: RatatoskrError | undefined
  readonly #parts: GraveyardParts
  #waiting: Waiting[] = []
  #working = false
  #positions: { readonly topicId: string; readonly of: LetterPositions } | undefined
  /** True when a batch may be stored though its append failed. */
  #isInDoubt = false
  /** Batches that could not be decoded and that a letter has: the others of their messages do without. */
  readonly #keptBatches = new Set<string>()

  constructor(parts: GraveyardParts) {
    this.#parts = parts
  }

  bury(letter: DeadLetter): Promise<Burial> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ letter, resolve, reject })
      if (!this.#working) void this.#work()
    })
  }

  /** Stores from where on letters may come again. */
  async save(): Promise<void> {
    await this.#positions?.of.save()
  }

  async #work(): Promise<void> {
    this.#working = true
    await undefined // all of this turn come along
    while (this.#waiting.length > 0) {
      const taken = this.#waiting.splice(0, lettersPerBatch)
      try {
        await this.#buryAll(taken)
        this.failure = undefined
      } catch (error) {
        this.failure = toRatatoskrError(error)
        this.#keptBatches.clear() // whatever was to have one may not be stored
        for (const { reject } of taken) reject(error)
      }
    }
    this.#working = false
  }

  /** @throws what keeps all of them from being stored */
  async #buryAll(taken: readonly Waiting[]): Promise<void> {
    const topic = await this.#parts.topicFor(taken[0].letter)
    const positions = await this.#positionsOf(topic)
    const builder = new BatchBuilder({ checksum: this.#parts.platform.checksum })
    let enclosed: Enclosed[] = []
    for (const waiting of taken) {
      const { record, identity } = this.#read(waiting.letter, topic)
      const before = waiting.letter.mayBeStored ? positions.find(identity) : undefined
      if (before !== undefined) {
        waiting.resolve(burialAt(topic, before, positions))
        continue
      }
      if (enclosed.length > 0 && builder.sizeBytes + record.payload.length > batchBytesTarget) {
        await this.#append(topic, builder, enclosed, positions)
        enclosed = []
      }
      builder.add(record)
      enclosed.push({ waiting, identity })
    }
    if (enclosed.length > 0) await this.#append(topic, builder, enclosed, positions)
  }

  async #append(
    topic: Topic,
    builder: BatchBuilder,
    enclosed: readonly Enclosed[],
    positions: LetterPositions,
  ): Promise<void> {
    const { offer, platform } = this.#parts
    const least = enclosed.map(({ waiting }) => waiting.letter.topic.config.durability)
    const durability = offer.levelFor(strongest([topic.config.durability, ...least]))
    const batch = builder.build()
    const partition = topic.partition(letterPartition)
    this.#isInDoubt = true
    const appended = await partition.append(batch, enclosed.length, durability, platform.clock.monotonic())
    this.#isInDoubt = false
    const base = typeof appended === 'number' ? appended : appended.baseOffset
    for (const [place, { waiting, identity }] of enclosed.entries()) {
      positions.written(base + place, identity)
      waiting.resolve(burialAt(topic, base + place, positions))
    }
  }

  async #positionsOf(topic: Topic): Promise<LetterPositions> {
    const known = this.#positions?.topicId === topic.id ? this.#positions.of : undefined
    if (known !== undefined && !this.#isInDoubt) return known
    const positions = known ?? new LetterPositions(topic.id, this.#parts)
    const partition = topic.partition(letterPartition)
    if (partition.state !== 'online') throw notOnline(topic.text) // nobody knows what it has
    await positions.open(new LetterScan(topic, partition, this.#parts.expansion))
    this.#isInDoubt = false
    this.#positions = { topicId: topic.id, of: positions }
    return positions
  }

  #read(letter: DeadLetter, deadLetterTopic: Topic): Read {
    const { content, error, batchOffset } = this.#contentOf(letter, deadLetterTopic)
    const { group, partition, offset, reason, attempts, firstAtMs, lastAtMs } = letter
    const topic = letter.topic.text
    const { payload, key, id, timestampMs } = content
    const facts = {
      reason,
      error,
      batchOffset,
      attempts,
      firstAtMs,
      lastAtMs,
      topic,
      partition,
      offset,
      group,
      timestampMs,
    }
    const headers = deadLetterHeaders(content.headers, facts)
    const buriedAtMs = this.#parts.platform.clock.now()
    return {
      record: { payload, key, headers, id: parseUuid(id), timestampMs: buriedAtMs },
      identity: { topic, group, partition, offset, id },
    }
  }

  /** The message; of one that cannot be decoded, now or ever, its batch: it is never tried again for that. */
  #contentOf(letter: DeadLetter, deadLetterTopic: Topic): Content {
    const { topic, group, partition, offset } = letter
    try {
      const { payload, key, id, timestampMs, headers } = buriedMessage(letter, this.#parts.expansion)
      return {
        content: { payload, key, id, timestampMs, headers },
        error: letter.error,
        batchOffset: undefined,
      }
    } catch (thrown) {
      const error = toRatatoskrError(thrown, 'RTK_BATCH_MALFORMED')
      const { content, batchOffset } = undecodedMessage(letter)
      const batch = `${deadLetterTopic.id} ${topic.id} ${group} ${partition} ${batchOffset}`
      const isKept = this.#keptBatches.has(batch)
      if (!isKept) {
        this.#parts.logger.error(
          'a message on its way to the dead letters cannot be decoded; its letter has the record batch as it is stored',
          { topic: topic.text, group, partition, offset, batchOffset, error },
        )
        if (this.#keptBatches.size === keptBatchesMax) this.#keptBatches.clear()
        this.#keptBatches.add(batch)
      }
      const said = letter.error === '' ? '' : `${letter.error}; `
      return {
        content: isKept ? { ...content, payload: nothing } : content,
        error: `${said}undecodable: ${error.code} ${error.message}`,
        batchOffset,
      }
    }
  }
}

const nothing = new Uint8Array(0)

const notOnline = (topic: string): RatatoskrError =>
  new RatatoskrError(
    'RTK_UNAVAILABLE',
    `the dead letter topic ${topic} is being recovered; retry after a pause`,
  )

const burialAt = (topic: Topic, offset: number, positions: LetterPositions): Burial => ({
  topic: topic.text,
  confirm: () => positions.confirm(offset),
})

const strongest = (levels: readonly Durability[]): Durability =>
  levels.reduce((one, other) => (isAtLeast(one, other) ? one : other))

/**
 * The messages of one partition of a queue group that are on their way to the dead letters: one after the other, each tried
 * again until it is stored. Its source is settled only then, so that it is never dropped on the way.
 */
import type { StoredFailure } from '../../domain/queue/checkpoint.ts'
import type { FailedMessage } from '../../domain/queue/lease-types.ts'
import {
  backoffDelayMs,
  type DeadLetterReason,
  type RatatoskrError,
  toRatatoskrError,
  utf8,
  utf8Text,
} from '../../ports/index.ts'
import { nextReadable } from '../gaps.ts'
import type { Burial, ReadablePartition } from '../seams.ts'
import type { PartitionHost } from './partition-host.ts'
import type { StoredTable } from './stored-table.ts'

const backoff = { baseMs: 100, maxMs: 30_000 }
/** Messages that are stored side by side: one at a time would wait for the medium each time. */
const atOnce = 16

/** Of so many failures that wait the cause is stored, and as much of what was said. */
const rememberedMax = 256
const rememberedErrorBytes = 256

/** What is needed of the partition. */
interface BuryingPartition {
  readonly index: number
  readonly log: ReadablePartition
  readonly stored: StoredTable
  schedule(): void
}

interface Letter extends FailedMessage {
  readonly error: string
  /** True when it could not be stored before, as far as that is known. */
  readonly tried?: boolean
}

export class Burials {
  /** What the settlement said that is being carried out: the reason of those messages that fail with it. */
  reason: string | undefined
  readonly #partition: BuryingPartition
  readonly #host: PartitionHost
  readonly #afterwards: () => void
  #waiting: Letter[] = []
  readonly #underWay = new Set<Letter>()
  #failures = 0
  #timer: Disposable | undefined
  #closed = false
  /** What is stored of those that were failing when the broker ended. */
  readonly #remembered: ReadonlyMap<number, StoredFailure>
  /** Offsets below may have been buried by the last run: also those that had expired and were never delivered. */
  #doubtfulBelow: number
  /** Letters whose settlement is in no checkpoint, and those before them. */
  #fresh: Burial[] = []
  #known: Burial[] = []

  /** @param afterwards to be called when the lease table was changed */
  constructor(partition: BuryingPartition, host: PartitionHost, afterwards: () => void) {
    const { begin } = partition.stored
    this.#doubtfulBelow = begin.epoch > 0 ? Number.POSITIVE_INFINITY : 0
    this.#remembered = new Map((begin.failures ?? []).map((failure) => [failure.offset, failure]))
    this.#partition = partition
    this.#host = host
    this.#afterwards = afterwards
  }

  add(failed: readonly FailedMessage[]): void {
    const said = this.reason === undefined ? '' : cutText(this.reason, this.#host.limits.settleReasonBytesMax)
    for (const one of failed) {
      const before = one.cause === 'restored' ? this.#remembered.get(one.offset) : undefined
      this.#waiting.push({ ...one, ...(before ?? { error: said || errorOf(one) }) })
    }
    this.#goOn()
  }

  /** Why messages fail whose letters are not stored yet, as far as it is to be remembered. */
  get underWay(): readonly StoredFailure[] {
    const failures: StoredFailure[] = []
    for (const { offset, cause, error } of [...this.#underWay, ...this.#waiting.slice(0, rememberedMax)]) {
      if (cause !== 'restored') failures.push({ offset, cause, error: cutText(error, rememberedErrorBytes) })
    }
    return failures.sort((one, other) => one.offset - other.offset)
  }

  /** The lease table begins with a log that ends here: what is stored behind it is new. */
  opened(end: number): void {
    this.#doubtfulBelow = Math.min(this.#doubtfulBelow, end)
  }

  /** Messages come again that were settled: their letters are new ones. */
  seeked(): void {
    this.#doubtfulBelow = 0
  }

  /** A checkpoint is stored: those settled before the last one of all are in it, which was made when that one was stored. */
  checkpointStored(): void {
    for (const burial of this.#known) burial.confirm()
    this.#known = this.#fresh
    this.#fresh = []
  }

  close(): void {
    this.#closed = true
    this.#timer?.[Symbol.dispose]()
    this.#waiting = []
  }

  #goOn(): void {
    while (!this.#closed && this.#timer === undefined && this.#underWay.size < atOnce) {
      const letter = this.#waiting.shift()
      if (letter === undefined) return
      this.#underWay.add(letter)
      void this.#bury(letter)
    }
  }

  async #bury(letter: Letter): Promise<void> {
    let burial: Burial | undefined
    try {
      const bytes = await this.#read(letter)
      if (bytes !== undefined) burial = await this.#store(letter, bytes)
    } catch (error) {
      this.#underWay.delete(letter)
      this.#failed(letter, toRatatoskrError(error))
      return
    }
    this.#underWay.delete(letter)
    if (this.#closed) return
    this.#failures = 0
    const wasFailing = this.#partition.stored.table?.buried(letter.offset) ?? false
    if (wasFailing) this.#tell(letter, burial?.topic)
    if (burial !== undefined) this.#fresh.push(burial)
    this.#afterwards()
    this.#partition.schedule()
    this.#goOn()
  }

  /** The batch that holds the message; undefined when it is lost. */
  async #read({ offset }: Letter): Promise<Uint8Array | undefined> {
    const { log } = this.#partition
    if (log.state === 'online' && offset < log.startOffset) return this.#gone(offset)
    try {
      return await log.read(offset, 1)
    } catch (error) {
      if (nextReadable(error, offset) !== undefined) return this.#gone(offset)
      throw error
    }
  }

  #gone(offset: number): undefined {
    this.#host.skipped(1)
    this.#host.logger.error(
      'a message on its way to the dead letters is lost: its log does not have it any more',
      {
        topic: this.#host.topic.text,
        group: this.#host.group,
        partition: this.#partition.index,
        offset,
      },
    )
  }

  async #store(letter: Letter, bytes: Uint8Array): Promise<Burial | undefined> {
    const { topic, group, config, deadLetters } = this.#host
    return await deadLetters.bury({
      topic,
      group,
      partition: this.#partition.index,
      offset: letter.offset,
      reason: reasonOf(letter),
      error: letter.error,
      attempts: letter.attempts,
      firstAtMs: letter.firstAtMs || undefined,
      lastAtMs: letter.lastAtMs || undefined,
      bytes,
      config,
      mayBeStored: letter.tried === true || letter.offset < this.#doubtfulBelow,
    })
  }

  #failed(letter: Letter, error: RatatoskrError): void {
    if (this.#closed) return
    this.#waiting.unshift({ ...letter, tried: true })
    if (this.#timer !== undefined) return
    const { topic, group, logger, clock, random } = this.#host
    const pauseMs = backoffDelayMs(this.#failures++, backoff, random.next())
    logger.warn('a dead letter could not be stored; it is kept and tried again', {
      topic: topic.text,
      group,
      partition: this.#partition.index,
      offset: letter.offset,
      pauseMs,
      error,
    })
    this.#timer = clock.after(pauseMs, () => {
      this.#timer = undefined
      this.#goOn()
    })
  }

  #tell(letter: Letter, deadLetterTopic: string | undefined): void {
    const { hooks, topic, group } = this.#host
    if (!hooks.observes('deadLettered')) return
    hooks.emit('deadLettered', {
      topic: topic.text,
      partition: this.#partition.index,
      group,
      offset: letter.offset,
      reason: reasonOf(letter),
      attempts: letter.attempts,
      deadLetterTopic,
    })
  }
}

const reasonOf = ({ cause }: FailedMessage): DeadLetterReason =>
  cause === 'expired'
    ? 'expired'
    : cause === 'terminate' || cause === 'undecodable'
      ? 'terminated'
      : 'retries'

/** What is said of a message whose members said nothing. */
function errorOf({ cause }: FailedMessage): string {
  switch (cause) {
    case 'timeout':
      return 'not settled within the ack timeout'
    case 'left':
      return 'the member that had it is gone'
    case 'undecodable':
      return 'its batch cannot be decoded here, and only a part of it was wanted'
    default:
      return ''
  }
}

/** As much of a text as fits, in whole characters. */
function cutText(text: string, bytesMax: number): string {
  const bytes = utf8(text)
  if (bytes.length <= bytesMax) return text
  let end = bytesMax
  while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--
  return utf8Text(bytes.subarray(0, end))
}

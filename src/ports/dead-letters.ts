/** Dead letters as transports and the client see them: messages that queue groups gave up, and what can be done with them. */
import type { LetterFilter } from '../domain/dead-letters/letter-filter.ts'
import type { Header } from '../domain/message.ts'
import type { CallOptions } from './component.ts'
import type { PartitionOffset } from './positions.ts'
import type { DeadLetterReason } from './queue.ts'

/** Which dead letters are meant: those that all given members fit. */
export interface DeadLetterFilter extends LetterFilter {
  /**
   * The dead letter topic to look into. By default the one that the settings of `group` name, and `<topic>.dlq` without a
   * group, or without one of that name.
   */
  readonly deadLetterTopic?: string | undefined
}

/** Which dead letters to list. */
export interface DeadLetterRequest extends DeadLetterFilter {
  /** Letters to list, at most 1,000; 100 by default. Fewer come when they are large, or few of many fit. */
  readonly max?: number | undefined
  /** `next` of the page before. */
  readonly after?: number | undefined
}

/** A message that was given up, as it was, and what is known of it. */
export interface StoredDeadLetter {
  /** Its place in the dead letter topic. */
  readonly partition: number
  readonly offset: number
  /** When it was stored there, Unix ms. */
  readonly buriedAtMs: number
  readonly group: string
  readonly reason: DeadLetterReason
  /** What the last member that had it said; empty when nothing. */
  readonly error: string
  /** How often it was delivered. */
  readonly attempts: number
  /** When it was delivered for the first and the last time, Unix ms; undefined when that is not known. */
  readonly firstAtMs?: number | undefined
  readonly lastAtMs?: number | undefined
  /** How often it was published again before. */
  readonly redrives: number
  /** Where the message was. */
  readonly source: PartitionOffset & { readonly topic: string }
  readonly id: string
  readonly key?: Uint8Array | undefined
  /** The message's own headers. */
  readonly headers: readonly Header[]
  /**
   * The message's own. Of a message whose batch cannot be decoded (`error` says why, after the word "undecodable"): the record batch
   * as it is stored, in the first letter from that batch, and nothing in the others.
   */
  readonly payload: Uint8Array
  /** The message's own timestamp, Unix ms. */
  readonly timestampMs: number
}

/** Dead letters in the order of their burial: those that were neither redriven nor purged. */
export interface DeadLetterPage {
  /** The dead letter topic. */
  readonly deadLetterTopic: string
  readonly letters: readonly StoredDeadLetter[]
  /** Where the next page begins; undefined when there was nothing more. */
  readonly next?: number | undefined
}

/** Which dead letters to publish again, and how. */
export interface RedriveRequest extends DeadLetterFilter {
  /** Letters to publish again, at most; 1,000 by default and at most 10,000. */
  readonly max?: number | undefined
  /** `next` of the answer before. */
  readonly after?: number | undefined
  /** Where to; each message's own topic by default. */
  readonly target?: string | undefined
  /** Messages a second, a whole number; as fast as it goes by default. */
  readonly rate?: number | undefined
  /** Publishes nothing, and only counts. */
  readonly dryRun?: boolean | undefined
  /** Publishes again what was redriven too often, too. */
  readonly force?: boolean | undefined
  /**
   * Lets every queue group of the topic have the messages. By default only the group gets one that had given it up, and the others
   * pass over it; one whose group is gone, or that goes to another topic than its own, is for all of them. Stream groups and
   * plain subscribers see all of them in any case.
   */
  readonly everyGroup?: boolean | undefined
}

/** What a redrive did. */
export interface RedriveResult {
  readonly deadLetterTopic: string
  /** Letters that fit. */
  readonly matched: number
  /** Of those: published again; with `dryRun`, that would be. */
  readonly redriven: number
  /**
   * Of those: not published, for that has happened too often (they were redriven three times, and failed each time), or since their
   * batches could not be decoded: those are not published with `force` either.
   */
  readonly refused: number
  /** Letters that were looked at and do not fit. */
  readonly skipped: number
  /** Where to go on: calls do a bounded amount of work. Undefined when everything was looked at. */
  readonly next?: number | undefined
}

/** What a purge did. */
export interface PurgeResult {
  readonly deadLetterTopic: string
  /** Letters that are neither listed nor redriven any more. */
  readonly purged: number
  readonly skipped: number
  /** As that of a redrive. */
  readonly next?: number | undefined
}

/** Which dead letters to let go of. */
export interface PurgeRequest extends DeadLetterFilter {
  /** At most so many; 10,000 by default, and no more. */
  readonly max?: number | undefined
  readonly after?: number | undefined
}

/** The part of a `Session` that has to do with dead letters. `topic` is where they come from. */
export interface DeadLetterSession {
  /**
   * Lists dead letters. Without a dead letter topic there are none; a topic that was deleted may have some.
   * @throws RTK_TOPIC_NOT_FOUND, RTK_INVALID_ARGUMENT, RTK_UNAVAILABLE
   */
  deadLetters(topic: string, request?: DeadLetterRequest, call?: CallOptions): Promise<DeadLetterPage>
  /**
   * Publishes dead letters again, each once: a letter that was published again is done with, whatever interrupts the call.
   * A call that is cancelled stops after what it has begun.
   * @throws RTK_TOPIC_NOT_FOUND when the topic to publish to is gone, RTK_INVALID_ARGUMENT, RTK_UNAVAILABLE, and whatever
   *   keeps messages from being stored; call it again to go on
   */
  redriveDeadLetters(topic: string, request?: RedriveRequest, call?: CallOptions): Promise<RedriveResult>
  /**
   * Lets go of dead letters. Their bytes stay until the retention of their topic deletes them.
   * @throws RTK_INVALID_ARGUMENT, RTK_UNAVAILABLE
   */
  purgeDeadLetters(topic: string, request?: PurgeRequest, call?: CallOptions): Promise<PurgeResult>
}

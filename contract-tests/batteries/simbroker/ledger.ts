/** What happened in a run, as those saw it who took part: what the oracle judges, and what the hash of a run is made of. */
import { type ErrorCode, type Header, utf8Text } from 'ratatoskr/ports'
import { LeaseNews } from './lease-news.ts'

/** One publish of a message. A message may be published twice, under one id. */
export interface PublishFact {
  readonly n: number
  readonly atMs: number
  readonly producer: string
  readonly idempotent: boolean
  readonly scheduledForMs: number | undefined
  /** Undefined while it is open, and when its client was gone before it was answered. */
  outcome?: 'stored' | ErrorCode
  partition?: number
  offset?: number
  duplicate?: boolean
  cancel?: 'asked' | 'taken back' | 'not there' | ErrorCode
}

/** One handing out of a message to a handler or a loop. */
export interface DeliveryFact {
  readonly group: number
  readonly n: number
  readonly partition: number
  readonly offset: number
  readonly key: string | undefined
  readonly lease: number
  readonly attempt: number
  readonly redelivered: boolean
  readonly client: number
  readonly member: string
  readonly polled: boolean
  readonly startMs: number
  /** Place among all events. */
  readonly at: number
  endMs?: number
  endAt?: number
  end?: 'ack' | 'nack' | 'terminate' | 'release'
  /** For `nack`: when it may come again at the earliest. */
  againMs?: number
  answer?: 'done' | ErrorCode
  answerMs?: number
  /** When its holder was told that the lease is lost. */
  lostMs?: number
}

/** A publish that carried a lease. */
export interface OutputFact {
  readonly of: DeliveryFact
  outcome?: 'stored' | ErrorCode
  offset?: number
}

/** A record that a stream group's member was given. */
export interface StreamFact {
  readonly partition: number
  readonly offset: number
  readonly n: number
  readonly atMs: number
  readonly member: string
}

export interface StoredRecord {
  readonly topicId: string
  readonly partition: number
  readonly offset: number
  readonly n: number
  readonly text: string
  readonly key: string | undefined
  readonly id: string
  readonly timestampMs: number
  readonly headers: readonly Header[]
}

/** What troubled whom; without a client: everybody. */
export interface TroubleFact {
  readonly atMs: number
  readonly client: number | undefined
  readonly what: string
}

/** How long a client's process did nothing. */
export interface StallFact {
  readonly client: number
  readonly fromMs: number
  readonly toMs: number
}

export interface SeekFact {
  readonly group: number
  readonly fromMs: number
  /** When its answer came; undefined when none came. */
  toMs?: number
}

/** The text of a header; undefined when there is none of that name. */
export function headerOf({ headers }: Pick<StoredRecord, 'headers'>, name: string): string | undefined {
  const found = headers.find(([each]) => each === name)
  return found === undefined ? undefined : utf8Text(found[1])
}

/** Which dead letter a record is the copy of; undefined for what was published in the first place. */
export const letterOf = (record: Pick<StoredRecord, 'headers'>): string | undefined =>
  headerOf(record, 'rtk-redrive-letter')

export class Ledger {
  readonly publishes: PublishFact[] = []
  readonly deliveries: DeliveryFact[] = []
  readonly outputs: OutputFact[] = []
  readonly streamed: StreamFact[] = []
  readonly troubles: TroubleFact[] = []
  readonly stalls: StallFact[] = []
  readonly crashes: number[] = []
  /** Since when each client that is gone is gone, by name. */
  readonly gone = new Map<string, number>()
  readonly seeks: SeekFact[] = []
  /** Groups of which a redrive may have been interrupted, and how many letters were published again. */
  readonly interruptedRedrives = new Set<string>()
  redriven = 0
  readonly lines: string[] = []
  /** What was seen to be wrong while it happened. */
  readonly wrong: string[] = []
  /** What the network carried of leases. */
  readonly news = new LeaseNews()
  #one = 0x811c9dc5
  #other = 0x9e3779b9
  readonly #now: () => number
  readonly #begunMs: number

  /** @param now the wall clock of the run */
  constructor(now: () => number) {
    this.#now = now
    this.#begunMs = now()
  }

  get nowMs(): number {
    return this.#now() - this.#begunMs
  }

  /** What all events come to, in one text. */
  get hash(): string {
    const hex = (part: number): string => (part >>> 0).toString(16).padStart(8, '0')
    return hex(this.#one) + hex(this.#other)
  }

  /** Notes an event. @returns its number */
  note(text: string): number {
    const line = `${this.nowMs.toFixed(3)} ${text}`
    for (let i = 0; i < line.length; i++) {
      const letter = line.charCodeAt(i)
      this.#one = Math.imul(this.#one ^ letter, 0x01000193)
      this.#other = Math.imul(this.#other + letter, 0x5bd1e995) ^ (this.#other >>> 13)
    }
    return this.lines.push(line)
  }

  trouble(client: number | undefined, what: string): void {
    this.note(`trouble ${client ?? 'all'}: ${what}`)
    this.troubles.push({ atMs: this.nowMs, client, what })
  }
}

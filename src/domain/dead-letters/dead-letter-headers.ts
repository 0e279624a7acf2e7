/**
 * What the record headers of a dead letter say. All values are UTF-8 text, numbers in decimal, so that any client and any
 * tool can read them; the prefix is reserved, so that nobody but the broker writes them.
 *
 * | Header                     | Value                                                             | Absent when         |
 * | -------------------------- | ----------------------------------------------------------------- | ------------------- |
 * | `rtk-dead-letter-reason`   | `retries`, `terminated` or `expired`                              |                     |
 * | `rtk-dead-letter-error`    | what the last member that had it said                             | nothing was said    |
 * | `rtk-dead-letter-attempts` | how often it was delivered, 0 when it expired before              |                     |
 * | `rtk-dead-letter-first-at` | when for the first time, Unix ms                                  | not known           |
 * | `rtk-dead-letter-last-at`  | when for the last time, Unix ms                                   | not known           |
 * | `rtk-dead-letter-topic`    | where it comes from: the topic,                                   |                     |
 * | `rtk-dead-letter-partition`| its partition                                                     |                     |
 * | `rtk-dead-letter-offset`   | and its offset                                                    |                     |
 * | `rtk-dead-letter-group`    | the group that gave it up                                         |                     |
 * | `rtk-dead-letter-timestamp`| the message's own timestamp, Unix ms                              |                     |
 * | `rtk-dead-letter-hops`     | how often it was buried without being redriven in between         | once                |
 * | `rtk-dead-letter-batch`    | the message could not be decoded, and this is the first offset of | it could be decoded |
 * |                            | the record batch that holds it                                    |                     |
 *
 * A letter with `rtk-dead-letter-batch` has no key and no headers of the message's own. Its payload is that record batch as it is
 * stored, or empty when another letter from the same batch has it.
 *
 * The timestamp of the letter's record is that of its burial: by it the letter is found, and by it the dead letter topic's
 * retention counts, whatever the message's own age.
 *
 * A message that was published again carries `rtk-redrives`, how often that was, `rtk-redrive-group`, the group that had
 * given it up, and `rtk-redrive-letter`, its letter: `<id of the dead letter topic>:<offset>`. Other queue groups pass over it,
 * unless it was to go to all of them: see group-address.ts.
 */
import { utf8, utf8Text } from '../batch/bytes.ts'
import { redriveGroupHeaderName } from '../batch/group-address.ts'
import type { Header, Message } from '../message.ts'

const prefix = 'rtk-dead-letter-'
const hopsName = `${prefix}hops`
const batchField = 'batch'
const redrivesName = 'rtk-redrives'
const redriveLetterName = 'rtk-redrive-letter'

export const deadLetterReasons = ['retries', 'terminated', 'expired'] as const

/** What is known of a message that was given up. */
export interface DeadLetterFacts {
  readonly reason: (typeof deadLetterReasons)[number]
  /** What the last member that had it said; empty when nothing. */
  readonly error: string
  /** How often it was delivered. */
  readonly attempts: number
  /** When it was delivered for the first and the last time, Unix ms; undefined when that is not known. */
  readonly firstAtMs: number | undefined
  readonly lastAtMs: number | undefined
  /** Where it comes from. */
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly group: string
  /** The message's own timestamp. */
  readonly timestampMs: number
  /** The message could not be decoded: the first offset of its batch. */
  readonly batchOffset?: number | undefined
}

/** Headers of the broker's that belong to one life of a message, and not to the next. */
const isOfOneLife = (name: string): boolean =>
  name.startsWith(prefix) || name === redriveGroupHeaderName || name === redriveLetterName

/** The headers of a letter: the message's own, and what is known of it. */
export function deadLetterHeaders(own: readonly Header[], facts: DeadLetterFacts): readonly Header[] {
  const hops = burialsOf({ headers: own }) + 1
  const fields: Record<string, string | number | undefined> = {
    reason: facts.reason,
    error: facts.error,
    attempts: facts.attempts,
    'first-at': facts.firstAtMs,
    'last-at': facts.lastAtMs,
    topic: facts.topic,
    partition: facts.partition,
    offset: facts.offset,
    group: facts.group,
    timestamp: facts.timestampMs,
    hops: hops > 1 ? hops : undefined,
    [batchField]: facts.batchOffset,
  }
  const headers = own.filter(([name]) => !isOfOneLife(name))
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && value !== '') headers.push([prefix + name, utf8(String(value))])
  }
  return headers
}

/** How often a message was buried since it was published or redriven: 0 when it is no letter. */
export function burialsOf({ headers }: Pick<Message, 'headers'>): number {
  const hops = headers.find(([name]) => name === hopsName)?.[1]
  if (hops !== undefined) return numberOf(utf8Text(hops)) ?? 1
  return headers.some(([name]) => name.startsWith(prefix)) ? 1 : 0
}

/** A letter's headers, read. */
export interface ReadDeadLetter {
  readonly facts: DeadLetterFacts
  /** How often the message was published again. */
  readonly redrives: number
  /** The message's own headers. */
  readonly headers: readonly Header[]
}

/** Reads the headers of a record of a dead letter topic; undefined when it is no letter. */
export function readDeadLetter(message: Pick<Message, 'headers'>): ReadDeadLetter | undefined {
  const fields = new Map<string, string>()
  const headers: Header[] = []
  let redrives = 0
  for (const header of message.headers) {
    const [name, value] = header
    if (name.startsWith(prefix)) fields.set(name.slice(prefix.length), utf8Text(value))
    else if (name === redrivesName) redrives = numberOf(utf8Text(value)) ?? 0
    else headers.push(header)
  }
  const reason = deadLetterReasons.find((one) => one === fields.get('reason'))
  const topic = fields.get('topic')
  const group = fields.get('group')
  const partition = numberOf(fields.get('partition'))
  const offset = numberOf(fields.get('offset'))
  if (reason === undefined || topic === undefined || group === undefined) return undefined
  if (partition === undefined || offset === undefined) return undefined
  const batchOffset = numberOf(fields.get(batchField))
  return {
    facts: {
      reason,
      error: fields.get('error') ?? '',
      attempts: numberOf(fields.get('attempts')) ?? 0,
      firstAtMs: numberOf(fields.get('first-at')),
      lastAtMs: numberOf(fields.get('last-at')),
      topic,
      partition,
      offset,
      group,
      timestampMs: numberOf(fields.get('timestamp')) ?? 0,
      ...(batchOffset !== undefined && { batchOffset }),
    },
    redrives,
    headers,
  }
}

/** The headers of a message that is published again. */
export const redrivenHeaders = (
  own: readonly Header[],
  { redrives, group, letter }: { readonly redrives: number; readonly group: string; readonly letter: string },
): readonly Header[] => [
  ...own,
  [redrivesName, utf8(String(redrives))],
  [redriveGroupHeaderName, utf8(group)],
  [redriveLetterName, utf8(letter)],
]

/** Which letter a message was published again from; undefined when it was not. */
export function redrivenFrom({ headers }: Pick<Message, 'headers'>): string | undefined {
  const value = headers.find(([name]) => name === redriveLetterName)?.[1]
  return value && utf8Text(value)
}

const numberOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))
    ? Number(text)
    : undefined

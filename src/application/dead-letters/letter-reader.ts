/** Goes through the letters of a dead letter topic that are not done, and tells those that a filter means. */
import { type ReadDeadLetter, readDeadLetter } from '../../domain/dead-letters/dead-letter-headers.ts'
import type { LetterTest } from '../../domain/dead-letters/letter-filter.ts'
import type { Message, StoredDeadLetter } from '../../ports/index.ts'
import type { DoneLetters } from './done-letters.ts'
import type { LetterScan } from './letter-scan.ts'

/** A letter that is not done. */
export interface Letter extends ReadDeadLetter {
  readonly message: Message
}

export interface LetterQuery {
  /** Only what comes from this topic; undefined: from anywhere. */
  readonly source: string | undefined
  readonly test: LetterTest
}

/** Reads of about a mebibyte that one walk does at most. */
const readsMax = 16

/**
 * Shows the letters from `offset` on that the query means.
 * @param visit false: this one was not taken, and no more are wanted
 * @param skipped called for each that the query does not mean
 * @returns where to go on; undefined when there is nothing more
 */
export async function walkLetters(
  scan: LetterScan,
  done: DoneLetters,
  { source, test }: LetterQuery,
  offset: number,
  visit: (letter: Letter) => boolean,
  skipped: () => void,
): Promise<number | undefined> {
  const { log } = scan
  let at = Math.max(offset, log.startOffset)
  let enough = false
  for (let reads = 0; !enough && reads < readsMax; reads++) {
    if (at >= log.stableOffset) return undefined
    at = await scan.some(at, (message) => {
      if (done.has(message.offset)) return true
      const letter = readDeadLetter(message)
      if (letter === undefined) return true // somebody else's message
      if ((source !== undefined && letter.facts.topic !== source) || !test(letter.facts, message)) {
        skipped()
        return true
      }
      enough = !visit({ ...letter, message })
      return !enough
    })
  }
  return at >= log.stableOffset ? undefined : at
}

/** A letter as it is listed. */
export function storedLetter({ facts, redrives, headers, message }: Letter): StoredDeadLetter {
  const { topic, partition, offset, group, reason, error, attempts, firstAtMs, lastAtMs, timestampMs } = facts
  return {
    partition: message.partition,
    offset: message.offset,
    buriedAtMs: message.timestampMs,
    group,
    reason,
    error,
    attempts,
    firstAtMs,
    lastAtMs,
    redrives,
    source: { topic, partition, offset },
    id: message.id,
    key: message.key,
    headers,
    payload: message.payload,
    timestampMs,
  }
}

/**
 * Which letters of one dead letter topic may be buried a second time: those whose source has not stored yet that they are
 * settled. After a crash it brings them again, and what is found of them at the end of the topic is not written once more.
 *
 * The state store holds the offset from which on there may be such letters. It is on record before the first letter of a
 * run is written, and follows behind the first one that is not confirmed.
 */
import { readDeadLetter } from '../../domain/dead-letters/dead-letter-headers.ts'
import { type Logger, type StateStore, toRatatoskrError, utf8, utf8Text } from '../../ports/index.ts'
import type { LetterScan } from './letter-scan.ts'
import { positionKey } from './state-keys.ts'

/** Letters that are confirmed before the position is stored anew: so many are looked through after a crash, about. */
const lettersPerWrite = 1_000

/** What a letter is known by: one message, given up by one group. */
export interface LetterIdentity {
  readonly topic: string
  readonly group: string
  readonly partition: number
  readonly offset: number
  /** The id of the message. */
  readonly id: string
}

export interface LetterPositionsParts {
  readonly state: StateStore
  readonly logger: Logger
  /** True while a group has not settled a message. */
  owes(letter: LetterIdentity): boolean
}

export class LetterPositions {
  readonly #parts: LetterPositionsParts
  readonly #key: string
  /** Letters that may come again, by offset, ascending. */
  readonly #unconfirmed = new Map<number, LetterIdentity>()
  /** Those of them that an earlier run has written, by who they are. */
  readonly #doubtful = new Map<string, number>()
  #stored = 0
  /** Behind the last letter. */
  #end = 0
  #writing: Promise<void> | undefined
  #opened = false

  constructor(topicId: string, parts: LetterPositionsParts) {
    this.#key = positionKey(topicId)
    this.#parts = parts
  }

  /**
   * Looks for letters that may come again: those of an earlier run; when it is called again, those that were written since
   * though nobody was told so. @throws what reading them, or the state store, throws
   */
  async open(scan: LetterScan): Promise<void> {
    const { stableOffset } = scan.log
    let offset = this.#opened ? this.#end : await this.#begin(stableOffset)
    while (offset < stableOffset) {
      offset = await scan.some(offset, (message) => {
        const letter = readDeadLetter(message)
        if (letter === undefined) return true
        const identity = { ...letter.facts, id: message.id }
        if (!this.#parts.owes(identity)) return true
        this.#unconfirmed.set(message.offset, identity)
        this.#doubtful.set(nameOf(identity), message.offset)
        return true
      })
    }
    this.#end = Math.max(this.#end, stableOffset)
    this.#opened = true
  }

  /** Where a letter is that was written before; it is not asked for again. */
  find(letter: LetterIdentity): number | undefined {
    if (this.#doubtful.size === 0) return undefined
    const name = nameOf(letter)
    const offset = this.#doubtful.get(name)
    this.#doubtful.delete(name)
    return offset
  }

  /** A letter is stored. */
  written(offset: number, letter: LetterIdentity): void {
    this.#unconfirmed.set(offset, letter)
    this.#end = Math.max(this.#end, offset + 1)
  }

  /** The letter at `offset` does not come again: its source has stored that it is settled. */
  confirm(offset: number): void {
    this.#unconfirmed.delete(offset)
    if (this.#writing !== undefined || this.#floor() - this.#stored < lettersPerWrite) return
    this.#writing = this.save().finally(() => {
      this.#writing = undefined
    })
  }

  /** Stores the position. A failure is reported: the one before does, and costs more reading. */
  async save(): Promise<void> {
    const floor = this.#floor()
    if (floor <= this.#stored) return
    try {
      await this.#write(floor)
    } catch (error) {
      this.#parts.logger.warn('the position of a dead letter topic could not be stored', {
        key: this.#key,
        error: toRatatoskrError(error, 'RTK_STORE_FAILED'),
      })
    }
  }

  async #begin(stableOffset: number): Promise<number> {
    const stored = await this.#parts.state.get(this.#key)
    const known = stored === undefined ? stableOffset : Number(utf8Text(stored.value)) || 0
    // A log that lost its tail in a crash gives those offsets to letters that have to be looked through.
    if (stored === undefined || known > stableOffset) await this.#write(stableOffset)
    else this.#stored = known
    return this.#stored
  }

  async #write(floor: number): Promise<void> {
    await this.#parts.state.put(this.#key, utf8(String(floor)))
    this.#stored = floor
  }

  #floor(): number {
    for (const [offset, letter] of this.#unconfirmed) {
      // What an earlier run wrote may have been settled otherwise since.
      if (this.#doubtful.get(nameOf(letter)) !== offset || this.#parts.owes(letter)) return offset
      this.#unconfirmed.delete(offset)
      this.#doubtful.delete(nameOf(letter))
    }
    return this.#end
  }
}

const nameOf = ({ topic, group, partition, offset, id }: LetterIdentity): string =>
  `${group}/${topic}/${partition}/${offset}/${id}`

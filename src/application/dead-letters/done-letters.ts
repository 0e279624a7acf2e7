/**
 * Which letters of one dead letter topic are redriven or purged, as it is stored; and what a redrive is about to publish.
 *
 * A redrive writes down what it is about to publish, and where the partitions end that it goes to; then it publishes; then
 * it notes, in one write, that the letters are done and that nothing is about to happen any more. Whoever finds the first
 * without the last looks behind those ends for what was published.
 */
import { chunkOffsets, DoneSet } from '../../domain/schedule/done-set.ts'
import { type StateChange, type StateStore, utf8, utf8Text } from '../../ports/index.ts'
import { chunkKey, chunkPrefix, floorKey, intentKey } from './state-keys.ts'

/** What goes to one partition. */
export interface IntendedPublish {
  readonly topicId: string
  readonly partition: number
  /** Where the partition ended before. */
  readonly from: number
  /** Offsets of the letters. */
  readonly letters: readonly number[]
}

export class DoneLetters {
  readonly #state: StateStore
  readonly #topicId: string
  readonly #done: DoneSet
  #storedFloor: number
  #intent: readonly IntendedPublish[]

  private constructor(state: StateStore, topicId: string, done: DoneSet, intent: readonly IntendedPublish[]) {
    this.#state = state
    this.#topicId = topicId
    this.#done = done
    this.#storedFloor = done.floor
    this.#intent = intent
  }

  /**
   * @param end where the topic ends: what was known of later offsets was about letters that are lost
   * @throws what the state store throws
   */
  static async load(state: StateStore, topicId: string, end: number): Promise<DoneLetters> {
    const floor = await state.get(floorKey(topicId))
    const done = new DoneSet(Math.min(floor === undefined ? 0 : Number(utf8Text(floor.value)) || 0, end))
    for await (const { key, value } of state.list(chunkPrefix(topicId))) {
      const chunk = Number(key.slice(chunkPrefix(topicId).length))
      done.load(chunk, withoutFrom(value, end - chunk * chunkOffsets))
    }
    const intent = await state.get(intentKey(topicId))
    return new DoneLetters(state, topicId, done, intent === undefined ? [] : readIntent(intent.value))
  }

  /** What was about to be published when a redrive was interrupted. */
  get intent(): readonly IntendedPublish[] {
    return this.#intent
  }

  has(offset: number): boolean {
    return this.#done.has(offset)
  }

  /** Writes down what is about to be published. @throws what the state store throws; then nothing must be published */
  async intend(intent: readonly IntendedPublish[]): Promise<void> {
    await this.#state.put(intentKey(this.#topicId), utf8(JSON.stringify(intent)))
    this.#intent = intent
  }

  /**
   * Notes that letters are done, and what is left to find out about.
   * @throws what the state store throws; they are done all the same as long as the broker runs
   */
  async finish(letters: readonly number[], intent: readonly IntendedPublish[]): Promise<void> {
    const { floor: before } = this.#done
    for (const offset of letters) this.#done.add(offset)
    await this.#store(intent, before)
  }

  /** The topic begins at `startOffset`. */
  raise(startOffset: number): void {
    this.#done.raise(startOffset)
  }

  async #store(intent: readonly IntendedPublish[], floorBefore: number): Promise<void> {
    const chunks = this.#done.takeChanges()
    const { floor } = this.#done
    const changes: StateChange[] = []
    for (const [chunk, bits] of chunks) changes.push({ key: chunkKey(this.#topicId, chunk), value: bits })
    if (floor !== floorBefore || floor !== this.#storedFloor)
      changes.push({ key: floorKey(this.#topicId), value: utf8(String(floor)) })
    if (intent.length > 0 || this.#intent.length > 0) {
      const value = intent.length === 0 ? undefined : utf8(JSON.stringify(intent))
      changes.push({ key: intentKey(this.#topicId), value })
    }
    try {
      if (changes.length > 0) await this.#state.putMany(changes)
      this.#storedFloor = floor
      this.#intent = intent
    } catch (error) {
      this.#done.giveBack(chunks)
      throw error
    }
  }
}

/** The bits without those from `count` on. */
function withoutFrom(bits: Uint8Array, count: number): Uint8Array {
  if (count >= bits.length * 8) return bits
  const kept = new Uint8Array(bits.length)
  const whole = Math.max(0, count) >> 3
  kept.set(bits.subarray(0, whole))
  if (count > 0) kept[whole] = bits[whole] & ((1 << (count & 7)) - 1)
  return kept
}

function readIntent(value: Uint8Array): readonly IntendedPublish[] {
  return JSON.parse(utf8Text(value)) as readonly IntendedPublish[]
}

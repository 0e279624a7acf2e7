/**
 * Whose turn it is: of the messages of a key one is handled at a time, and a message that comes again while an earlier
 * delivery of it is still being handled here waits for that.
 */
import { murmur2 } from '../../domain/murmur2.ts'
import type { LeaseRange } from '../../ports/index.ts'
import type { ClientMessage } from '../client-message.ts'

/** Where a key has failed: messages behind it that came before that moment are not to be handled. */
interface Failure {
  readonly partition: number
  readonly offset: number
  /** The last batch that had come when the broker knew; Infinity before. */
  batchNumber: number
}

const placeOf = (partition: number, offset: number): string => `${partition}/${offset}`

export class KeyTurns {
  readonly #ordered: boolean
  /** Keys that are being handled, and what waits for them. */
  readonly #busy = new Map<number, ClientMessage[]>()
  /** Messages that the turn of their key was passed on to. */
  readonly #promised = new Set<ClientMessage>()
  /** Messages whose lease was lost while they were being handled, and the delivery after it. */
  readonly #overtaken = new Map<string, ClientMessage | undefined>()
  readonly #failures = new Map<number, Failure>()

  /** @param ordered whether the group keeps the order of keys */
  constructor(ordered: boolean) {
    this.#ordered = ordered
  }

  /** Notes what the message's key counts as, 0 without order; keys of the same hash are one, as for the broker. */
  note(message: ClientMessage): void {
    if (!this.#ordered) return
    const { key, partition } = message
    if (key !== undefined) message.turn = partition * 2 ** 32 + ((murmur2(key) || 1) >>> 0)
  }

  /** True when the message stands behind one of its key that failed after it had come. */
  isVoid({ turn, offset }: ClientMessage, batchNumber: number): boolean {
    const failure = turn === 0 || this.#failures.size === 0 ? undefined : this.#failures.get(turn)
    return failure !== undefined && offset > failure.offset && batchNumber <= failure.batchNumber
  }

  /** Takes the turn. @returns false when the message has to wait: `end` of whoever is before it gives it back */
  begin(message: ClientMessage): boolean {
    if (this.#overtaken.size > 0) {
      const place = placeOf(message.partition, message.offset)
      if (this.#overtaken.has(place)) {
        this.#overtaken.set(place, message)
        return false
      }
    }
    const { turn } = message
    if (turn === 0 || this.#promised.delete(message)) return true
    const waiting = this.#busy.get(turn)
    if (waiting === undefined) {
      this.#busy.set(turn, [])
      return true
    }
    waiting.push(message)
    return false
  }

  /** The message is not being handled, or will not be. @returns those that may have their turn now */
  end(message: ClientMessage): readonly ClientMessage[] {
    const next: ClientMessage[] = []
    const { turn } = message
    if (turn !== 0) {
      const following = this.#busy.get(turn)?.shift()
      if (following === undefined) this.#busy.delete(turn)
      else {
        this.#promised.add(following)
        next.push(following)
      }
    }
    if (this.#overtaken.size > 0) {
      const place = placeOf(message.partition, message.offset)
      const again = this.#overtaken.get(place)
      this.#overtaken.delete(place)
      if (again !== undefined) next.push(again)
    }
    return next
  }

  /** A message that was to have its turn will not be handled. @returns as `end` */
  pass(message: ClientMessage): readonly ClientMessage[] {
    return this.#promised.delete(message) ? this.end(message) : []
  }

  /** The lease of a message that is being handled is lost: when it comes again it has to wait. */
  overtaken(partition: number, offset: number): void {
    const place = placeOf(partition, offset)
    if (!this.#overtaken.has(place)) this.#overtaken.set(place, undefined)
  }

  /** A message is being given back: those of its key that come before the broker knows are not to be handled before it. */
  failed({ turn, partition, offset }: ClientMessage): void {
    if (turn === 0) return
    const before = this.#failures.get(turn)
    if (before !== undefined && before.batchNumber === Number.POSITIVE_INFINITY && before.offset <= offset)
      return
    this.#failures.set(turn, { partition, offset, batchNumber: Number.POSITIVE_INFINITY })
  }

  /** The broker knows of what was given back; what comes after this batch is in order. */
  failureKnown(range: LeaseRange, batchNumber: number): void {
    for (const failure of this.#failures.values()) {
      const { partition, offset } = failure
      const inRange = partition === range.partition && offset >= range.from && offset < range.to
      if (inRange) failure.batchNumber = Math.min(failure.batchNumber, batchNumber)
    }
  }

  /** Nothing of the batches below this number will be handed out any more. */
  forgetBelow(batchNumber: number): void {
    for (const [turn, failure] of this.#failures) {
      if (failure.batchNumber < batchNumber && !this.#busy.has(turn)) this.#failures.delete(turn)
    }
  }
}

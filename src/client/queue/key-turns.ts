/**
 * Whose turn it is: of the messages of a key one is handled at a time, and a message that comes again while an earlier
 * delivery of it is still being handled here waits for that.
 */
import { murmur2 } from '../../domain/murmur2.ts'
import type { LeaseRange } from '../../ports/index.ts'
import type { ClientMessage } from '../client-message.ts'

/**
 * A message that was given back: what is behind it in its key is not to be handled, as far as the broker handed it out before
 * it knew. The broker takes that back, and hands it out again in its order.
 */
interface GivenBack {
  readonly partition: number
  readonly offset: number
  readonly lease: number
  /** The last batch that may have been handed out before; all, until the broker is known to know. */
  batchNumber: number
}

/** The batch that a message came with. */
interface BatchPlace extends Pick<LeaseRange, 'lease'> {
  readonly number: number
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
  readonly #givenBack = new Map<number, GivenBack[]>()

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

  /** True when the message stands behind one of its key that was given back, and was handed out before the broker knew. */
  isVoid({ turn, offset }: ClientMessage, batch: BatchPlace): boolean {
    const givenBack = turn === 0 || this.#givenBack.size === 0 ? undefined : this.#givenBack.get(turn)
    if (givenBack === undefined) return false
    let isVoid = false
    for (const one of givenBack) {
      // One that comes again, or one before it: the broker keeps the order, so what comes from here on is right.
      if (offset <= one.offset && batch.lease > one.lease) {
        one.batchNumber = Math.min(one.batchNumber, batch.number - 1)
      }
      isVoid ||= offset > one.offset && batch.number <= one.batchNumber
    }
    return isVoid
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
    const { turn } = message
    const again = this.#overtaken.size > 0 ? this.#endOvertaken(message) : undefined
    if (turn === 0) return again === undefined ? [] : [again]
    // The message itself, when it has come again, is before all others of its key.
    const next = again ?? this.#busy.get(turn)?.shift()
    if (next === undefined) {
      this.#busy.delete(turn)
      return []
    }
    this.#promised.add(next)
    return [next]
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

  /** A message is being given back, that was held with this lease. */
  giveBack({ turn, partition, offset }: ClientMessage, lease: number): void {
    if (turn === 0) return
    const one = { partition, offset, lease, batchNumber: Number.POSITIVE_INFINITY }
    const givenBack = this.#givenBack.get(turn)
    if (givenBack === undefined) this.#givenBack.set(turn, [one])
    else givenBack.push(one)
  }

  /** The broker knows of what was given back; what comes after this batch is in order. */
  giveBackKnown(range: LeaseRange, batchNumber: number): void {
    for (const givenBack of this.#givenBack.values()) {
      for (const one of givenBack) {
        const { partition, offset, lease } = one
        const inRange = partition === range.partition && offset >= range.from && offset < range.to
        if (inRange && lease === range.lease) one.batchNumber = Math.min(one.batchNumber, batchNumber)
      }
    }
  }

  /** Nothing of the batches below this number will be handed out any more. */
  forgetBelow(batchNumber: number): void {
    for (const [turn, givenBack] of this.#givenBack) {
      if (this.#busy.has(turn)) continue
      const left = givenBack.filter((one) => one.batchNumber >= batchNumber)
      if (left.length === 0) this.#givenBack.delete(turn)
      else if (left.length < givenBack.length) this.#givenBack.set(turn, left)
    }
  }

  /** All leases are void: what comes from here on is in order. */
  forgetGivenBack(): void {
    this.#givenBack.clear()
  }

  #endOvertaken({ partition, offset }: ClientMessage): ClientMessage | undefined {
    const place = placeOf(partition, offset)
    const again = this.#overtaken.get(place)
    this.#overtaken.delete(place)
    return again
  }
}

/**
 * Whose turn it is: of the messages of a key one is handled at a time here, in their order.
 *
 * What the broker does: the first unsettled messages of a key are leased, all of them to one member. When one of them comes
 * back (given back, failed, or its lease ended), the leases on those behind it end as well, and it tells so first. What it
 * says of a membership arrives in the order in which it was said: deliveries, losses, answers to settlements. So of what is
 * leased here and not told to be lost the lowest offset comes next, unless something holds the turn of the key:
 *
 * - A message that runs holds all others, until its handler has ended. That it is settled or lost before makes no difference:
 *   when it comes again meanwhile, it waits for its own earlier delivery, ahead of those behind it.
 * - A message that is given back here in whatever way (failed, terminated, released, or expired while it waited) holds those
 *   behind it, until the broker has answered this very settlement. Before that they are still leased, or leased anew: only
 *   afterwards what is not told to be lost is right. An acknowledgement holds nothing: its message has been handled.
 * - A message whose lease counts as ended on this side alone holds those behind it, until the broker tells the loss. Until
 *   then the broker may still hold it to be handled here.
 * - What is given back, or counts as ended, before it was decoded has a key that nobody here knows: it holds all keys of its
 *   partition.
 *
 * When the membership ends, all leases end, and with them everything that waits and all that holds but for what runs.
 * Messages without a key have no turn; only one that comes again while it runs has to wait for that.
 */
import { murmur2 } from '../../domain/murmur2.ts'
import type { LeaseRange } from '../../ports/index.ts'

/** A message under one lease. */
export interface LeasedPlace {
  readonly partition: number
  readonly offset: number
  readonly lease: number
}

/** A message that wants its turn. */
export interface TurnTaker extends LeasedPlace {
  /** What its key counts as: see `turnOf`. 0 without key or order. */
  readonly turn: number
}

interface Hold {
  /** 0 for all keys of the partition. */
  readonly turn: number
  readonly partition: number
  readonly offset: number
}

const keysOfPartition = 2 ** 32
const nobody = -1

/** What a key of a partition counts as; keys of the same hash are one, as for the broker. */
export const turnOf = (partition: number, key: Uint8Array): number =>
  partition * keysOfPartition + ((murmur2(key) || 1) >>> 0)

const leaseKey = ({ partition, lease }: Pick<LeasedPlace, 'partition' | 'lease'>): string =>
  `${partition}/${lease}`

const placeKey = ({ partition, offset }: Pick<LeasedPlace, 'partition' | 'offset'>): string =>
  `${partition}/${offset}`

/** One key: who runs, who waits, and what holds those behind it. */
class Line<M extends TurnTaker> {
  /** Messages that wait, by offset, and by the order in which they came. */
  readonly waiting: M[] = []
  /** Offsets that hold what is behind them. */
  readonly holds: number[] = []
  #runningOffset = nobody
  #runningLease = nobody

  get isBusy(): boolean {
    return this.#runningOffset !== nobody
  }

  get isIdle(): boolean {
    return !this.isBusy && this.waiting.length === 0 && this.holds.length === 0
  }

  runs({ offset, lease }: Pick<LeasedPlace, 'offset' | 'lease'>): boolean {
    return this.#runningOffset === offset && this.#runningLease === lease
  }

  run({ offset, lease }: Pick<LeasedPlace, 'offset' | 'lease'>): void {
    this.#runningOffset = offset
    this.#runningLease = lease
  }

  stop(): void {
    this.#runningOffset = nobody
  }

  add(message: M): void {
    const { waiting } = this
    let at = waiting.length
    while (at > 0 && waiting[at - 1].offset > message.offset) at--
    waiting.splice(at, 0, message)
  }
}

export class KeyTurns<M extends TurnTaker> {
  /** Keys with something that runs, waits or holds. */
  readonly #lines = new Map<number, Line<M>>()
  /** Places of messages whose lease was lost while they were being handled: there those without key wait, too. */
  readonly #overtaken = new Map<string, Line<M>>()
  /** What holds, by the lease that it ends with. */
  readonly #holds = new Map<string, Hold[]>()
  /** Offsets that hold all keys of a partition. */
  readonly #partitionHolds = new Map<number, number[]>()

  /** Takes the turn, or has been given it. @returns false when the message has to wait: it is returned by what ends the wait */
  begin(message: M): boolean {
    const { turn } = message
    let line = this.#lineOf(message)
    if (line === undefined) {
      if (turn === 0) return true
      line = new Line()
      this.#lines.set(turn, line)
    }
    if (line.runs(message)) return true
    if (!line.isBusy && line.waiting.length === 0 && !this.#isHeld(line, message)) {
      line.run(message)
      return true
    }
    line.add(message)
    return this.#next(line) === message
  }

  /** The message is not being handled any more, or will not be. @returns who has the turn now */
  end(message: M): M | undefined {
    const line = this.#lineOf(message)
    if (message.turn !== 0 && this.#overtaken.size > 0) this.#overtaken.delete(placeKey(message))
    if (line === undefined || !line.runs(message)) return undefined
    line.stop()
    const next = this.#next(line)
    if (line.isIdle) this.#forget(message)
    return next
  }

  /** The lease of a message that is being handled is lost: when it comes again it has to wait. */
  overtaken(place: LeasedPlace): void {
    const key = placeKey(place)
    if (this.#overtaken.has(key)) return
    const line = new Line<M>()
    line.run(place)
    this.#overtaken.set(key, line)
  }

  /** What is behind a place has to wait until the broker's word on its lease is `known`. @param turn 0 for all keys */
  hold({ partition, offset, lease }: LeasedPlace, turn: number): void {
    const key = leaseKey({ partition, lease })
    const holds = this.#holds.get(key)
    const hold = { turn, partition, offset }
    if (holds === undefined) this.#holds.set(key, [hold])
    else holds.push(hold)
    if (turn === 0) {
      const offsets = this.#partitionHolds.get(partition)
      if (offsets === undefined) this.#partitionHolds.set(partition, [offset])
      else offsets.push(offset)
      return
    }
    const line = this.#lines.get(turn) ?? new Line<M>()
    line.holds.push(offset)
    this.#lines.set(turn, line)
  }

  /** The broker has said what became of these leases. @returns those who have their turn now */
  known(range: LeaseRange): readonly M[] {
    const key = leaseKey(range)
    const holds = this.#holds.get(key)
    if (holds === undefined) return []
    const isOver = ({ offset }: Hold): boolean => offset >= range.from && offset < range.to
    const left = holds.filter((hold) => !isOver(hold))
    if (left.length === holds.length) return []
    if (left.length === 0) this.#holds.delete(key)
    else this.#holds.set(key, left)
    return holds.filter(isOver).flatMap((hold) => this.#endHold(hold))
  }

  /** All leases are over: nobody waits, and nothing holds but what runs. */
  clear(): void {
    this.#holds.clear()
    this.#partitionHolds.clear()
    for (const [turn, line] of this.#lines) {
      line.holds.length = 0
      line.waiting.length = 0
      if (!line.isBusy) this.#lines.delete(turn)
    }
    for (const line of this.#overtaken.values()) line.waiting.length = 0
  }

  #lineOf(message: M): Line<M> | undefined {
    if (message.turn !== 0) return this.#lines.get(message.turn)
    return this.#overtaken.size === 0 ? undefined : this.#overtaken.get(placeKey(message))
  }

  #forget(message: M): void {
    if (message.turn === 0) this.#overtaken.delete(placeKey(message))
    else this.#lines.delete(message.turn)
  }

  /** Gives the turn to the first who waits, when nothing is in the way. */
  #next(line: Line<M>): M | undefined {
    const [first] = line.waiting
    if (first === undefined || line.isBusy || this.#isHeld(line, first)) return undefined
    line.waiting.shift()
    line.run(first)
    return first
  }

  #isHeld(line: Line<M>, { turn, partition, offset }: M): boolean {
    const isBehind = (held: number): boolean => held < offset
    if (line.holds.length > 0 && line.holds.some(isBehind)) return true
    if (turn === 0 || this.#partitionHolds.size === 0) return false
    return this.#partitionHolds.get(partition)?.some(isBehind) ?? false
  }

  #endHold({ turn, partition, offset }: Hold): M[] {
    if (turn === 0) {
      const offsets = this.#partitionHolds.get(partition) as number[]
      offsets.splice(offsets.indexOf(offset), 1)
      if (offsets.length === 0) this.#partitionHolds.delete(partition)
      const first = partition * keysOfPartition
      const turns = [...this.#lines.keys()].filter((one) => one >= first && one < first + keysOfPartition)
      return turns.flatMap((one) => this.#look(one))
    }
    const { holds } = this.#lines.get(turn) as Line<M>
    holds.splice(holds.indexOf(offset), 1)
    return this.#look(turn)
  }

  /** Something that held the key may have ended. */
  #look(turn: number): M[] {
    const line = this.#lines.get(turn) as Line<M>
    const next = this.#next(line)
    if (line.isIdle) this.#lines.delete(turn)
    return next === undefined ? [] : [next]
  }
}

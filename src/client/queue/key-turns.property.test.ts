/**
 * The order rule against a broker that keeps the order of its leases, over a line that delays what either side says: whatever
 * happens, a message begins when those before it of its key are done, one at a time, and every message is done in the end.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KeyTurns, type LeasedPlace, type TurnTaker } from './key-turns.ts'

/** What the broker says, in this order. */
type Said =
  | { readonly what: 'leased'; readonly messages: readonly TurnTaker[] }
  | { readonly what: 'lost' | 'answered'; readonly places: readonly LeasedPlace[] }

interface Stored {
  readonly offset: number
  /** 0 without. */
  readonly key: number
  state: 'waiting' | 'leased' | 'done'
  lease: number
}

const rangeOf = ({ partition, lease, offset }: LeasedPlace) => ({
  partition,
  lease,
  from: offset,
  to: offset + 1,
})

/** One partition of a group that keeps the order. What it takes from this member another one may settle. */
class Broker {
  readonly stored: Stored[] = []
  readonly said: Said[] = []
  /** Settlements that are made, and not answered yet. */
  #made: LeasedPlace[] = []
  #lease = 0

  store(key: number): void {
    this.stored.push({ offset: this.stored.length, key, state: 'waiting', lease: 0 })
  }

  /** Leases up to so many messages: those whose earlier ones are done, or leased here as well. */
  lease(count: number): void {
    const messages: TurnTaker[] = []
    const lease = ++this.#lease
    for (const one of this.stored) {
      if (messages.length === count) break
      if (one.state !== 'waiting' || this.#before(one).some(({ state }) => state === 'waiting')) continue
      Object.assign(one, { state: 'leased', lease })
      messages.push({ partition: 0, offset: one.offset, lease, turn: one.key })
    }
    if (messages.length > 0) this.said.push({ what: 'leased', messages })
  }

  settle(place: LeasedPlace, isDone: boolean): void {
    const one = this.stored[place.offset]
    if (this.#isHeld(place)) {
      one.state = isDone ? 'done' : 'waiting'
      if (!isDone) this.#takeBackAfter(one)
    }
    this.#made.push(place)
  }

  answer(): void {
    for (const place of this.#made.splice(0)) this.said.push({ what: 'answered', places: [place] })
  }

  /** The lease on a message ends; those behind it of its key first. */
  expire(offset: number, doneElsewhere: boolean): void {
    const one = this.stored[offset]
    if (one?.state !== 'leased') return
    this.#takeBackAfter(one)
    this.said.push({ what: 'lost', places: [{ partition: 0, offset, lease: one.lease }] })
    one.state = doneElsewhere && this.#before(one).length === 0 ? 'done' : 'waiting'
  }

  /** The membership ends. */
  end(): void {
    this.said.length = 0
    this.#made = []
    for (const one of this.stored) if (one.state === 'leased') one.state = 'waiting'
  }

  #isHeld({ offset, lease }: LeasedPlace): boolean {
    return this.stored[offset].state === 'leased' && this.stored[offset].lease === lease
  }

  #before({ key, offset }: Stored): Stored[] {
    return this.stored.filter(
      (one) => key !== 0 && one.key === key && one.offset < offset && one.state !== 'done',
    )
  }

  /** Tells of all of them at once: after the first alone, the second would seem to be next. */
  #takeBackAfter({ key, offset }: Stored): void {
    const places: LeasedPlace[] = []
    for (const one of this.stored) {
      if (key === 0 || one.key !== key || one.offset <= offset || one.state !== 'leased') continue
      one.state = 'waiting'
      places.push({ partition: 0, offset: one.offset, lease: one.lease })
    }
    if (places.length > 0) this.said.push({ what: 'lost', places })
  }
}

const isSame = (one: LeasedPlace, other: LeasedPlace): boolean =>
  one.offset === other.offset && one.lease === other.lease

/** A member that handles what it is leased by its `KeyTurns`, as the client does. */
class Member {
  readonly wrong: string[] = []
  readonly running: TurnTaker[] = []
  /** Settlements on their way. */
  readonly sent: { readonly place: LeasedPlace; readonly isDone: boolean }[] = []
  readonly #broker: Broker
  readonly #turns = new KeyTurns<TurnTaker>()
  readonly #handled = new Set<number>()
  /** Leased here as far as this side knows, and neither settled nor lost. */
  #held: TurnTaker[] = []
  /** In the order in which they are looked at. */
  #queue: TurnTaker[] = []

  constructor(broker: Broker) {
    this.#broker = broker
  }

  hear(): void {
    const said = this.#broker.said.shift()
    if (said === undefined) return
    if (said.what === 'leased') {
      this.#held.push(...said.messages)
      this.#queue.push(...said.messages)
      return
    }
    if (said.what === 'lost') for (const place of said.places) this.#lose(place)
    for (const place of said.places) this.#queue.unshift(...this.#turns.known(rangeOf(place)))
  }

  /** Handlers begin, as many as may. */
  work(): void {
    for (let message = this.#queue.shift(); message !== undefined; message = this.#queue.shift()) {
      if (!this.#isHeld(message)) this.#endTurn(message)
      else if (this.#turns.begin(message)) this.#begin(message)
    }
  }

  end(index: number, isDone: boolean): void {
    const [message] = this.running.splice(index % Math.max(1, this.running.length), 1)
    if (message === undefined) return
    if (isDone) this.#handled.add(message.offset)
    if (this.#isHeld(message)) {
      this.#drop(message)
      if (!isDone) this.#turns.hold(message, message.turn)
      this.sent.push({ place: message, isDone })
    }
    this.#endTurn(message)
  }

  /** Gives back the last of what waits, as if it were not decoded. */
  release(): void {
    const message = this.#held.findLast((one) => !this.running.some((other) => isSame(one, other)))
    if (message === undefined) return
    this.#drop(message)
    this.#turns.hold(message, 0)
    this.sent.push({ place: message, isDone: false })
  }

  /** A lease counts as ended on this side alone. */
  giveUp(index: number): void {
    const message = this.#held[index % Math.max(1, this.#held.length)]
    if (message === undefined) return
    this.#turns.hold(message, 0)
    this.#lose(message)
  }

  /** The membership is lost, with all that was on its way. */
  cut(): void {
    for (const message of [...this.#held]) this.#lose(message)
    this.sent.length = 0
    this.#queue.length = 0
    this.#turns.clear()
    this.#broker.end()
  }

  #begin(message: TurnTaker): void {
    const { offset, turn } = message
    for (const one of this.#broker.stored.slice(0, turn === 0 ? 0 : offset)) {
      const isDone = one.key !== turn || one.state === 'done' || this.#handled.has(one.offset)
      if (!isDone) this.wrong.push(`${offset} begins before ${one.offset} is done`)
    }
    for (const one of this.running) {
      const isInTheWay = one.offset === offset || (turn !== 0 && one.turn === turn)
      if (isInTheWay) this.wrong.push(`${offset} begins while ${one.offset} runs`)
    }
    this.running.push(message)
  }

  #endTurn(message: TurnTaker): void {
    const next = this.#turns.end(message)
    if (next !== undefined) this.#queue.unshift(next)
  }

  #lose(place: LeasedPlace): void {
    if (!this.#isHeld(place)) return
    if (this.running.some((one) => isSame(one, place))) this.#turns.overtaken(place)
    this.#drop(place)
  }

  #isHeld(place: LeasedPlace): boolean {
    return this.#held.some((one) => isSame(one, place))
  }

  #drop(place: LeasedPlace): void {
    this.#held = this.#held.filter((one) => !isSame(one, place))
  }
}

const number = fc.nat(20)
const step = fc.oneof(
  fc.record({ do: fc.constant('store' as const), key: fc.nat(2) }),
  fc.record({ do: fc.constant('lease' as const), count: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ do: fc.constant('hear' as const), count: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constant('end' as const), index: number, isDone: fc.boolean() }),
  fc.record({ do: fc.constant('settle' as const), count: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constant('answer' as const) }),
  fc.record({ do: fc.constant('expire' as const), offset: number, elsewhere: fc.boolean() }),
  fc.record({ do: fc.constant('give up' as const), index: number }),
  fc.record({ do: fc.constant('release' as const) }),
  fc.record({ do: fc.constant('cut' as const) }),
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function settle(broker: Broker, member: Member): void {
  const sent = member.sent.shift()
  if (sent !== undefined) broker.settle(sent.place, sent.isDone)
}

function take(one: Step, broker: Broker, member: Member): void {
  if (one.do === 'store') broker.store(one.key)
  else if (one.do === 'lease') broker.lease(one.count)
  else if (one.do === 'hear') for (let i = 0; i < one.count; i++) member.hear()
  else if (one.do === 'end') member.end(one.index, one.isDone)
  else if (one.do === 'settle') for (let i = 0; i < one.count; i++) settle(broker, member)
  else if (one.do === 'answer') broker.answer()
  else if (one.do === 'expire') broker.expire(one.offset, one.elsewhere)
  else if (one.do === 'give up') member.giveUp(one.index)
  else if (one.do === 'release') member.release()
  else member.cut()
  member.work()
}

/** Everything succeeds from here on, and what was given up here ends at the broker as well. */
function drain(broker: Broker, member: Member): void {
  const isOpen = (): boolean => broker.stored.some(({ state }) => state !== 'done')
  for (let round = 0; round < 200 && isOpen(); round++) {
    if (round % 20 === 19) for (const { offset } of broker.stored) broker.expire(offset, false)
    broker.lease(6)
    broker.answer()
    while (broker.said.length > 0) member.hear()
    member.work()
    while (member.running.length > 0) member.end(0, true)
    while (member.sent.length > 0) settle(broker, member)
    member.work()
  }
}

describe('the turns of keys', () => {
  it('keep the order whatever is given back, lost, or under way, and nobody waits for ever', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
        const broker = new Broker()
        const member = new Member(broker)
        for (const one of steps) take(one, broker, member)
        drain(broker, member)
        expect(member.wrong).toEqual([])
        expect(broker.stored.filter(({ state }) => state !== 'done')).toEqual([])
      }),
      { numRuns: 2_000 },
    )
  })
})

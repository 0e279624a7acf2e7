/** Changes of the state in a life of a storage: some keys at once or one, several transactions under way together. */
import { isRatatoskrError, type StateChange, type StateStore } from 'ratatoskr/ports'
import type { Dice } from './dice.ts'
import type { Flight } from './flight.ts'
import { type FoundState, StateModel } from './model.ts'
import { codeOf, stateValue } from './storage.ts'

const stateKeys = ['a', 'b', 'c/d']
/** Each may be there or not after a crash: the model tries all ways. */
const openMax = 6

export class StateChanges {
  readonly model = new StateModel()
  readonly #dice: Dice
  readonly #flight: Flight
  readonly #nextNumber: () => number
  readonly #say: (line: string) => void
  /** Those whose outcome may be in doubt. */
  #open = 0

  /** @param nextNumber gives each value a number that no other has */
  constructor(dice: Dice, flight: Flight, nextNumber: () => number, say: (line: string) => void) {
    this.#dice = dice
    this.#flight = flight
    this.#nextNumber = nextNumber
    this.#say = say
  }

  makeSome(store: StateStore): void {
    for (let count = this.#dice.between(1, 3); count > 0 && this.#open < openMax; count--) {
      const many = this.#dice.chance(0.4)
      const keys = many ? stateKeys.filter(() => this.#dice.chance(0.7)) : [this.#dice.pick(stateKeys)]
      if (keys.length > 0) this.#make(store, keys)
    }
  }

  /** The storage was opened again, and this is what it has. */
  reopenedWith(found: FoundState): void {
    this.model.reopenedWith(found)
    this.#open = 0
  }

  #make(store: StateStore, keys: readonly string[]): void {
    const values = keys.map(() => this.#nextNumber())
    const changes: StateChange[] = keys.map((key, i) => ({
      key,
      value: this.#dice.chance(0.2) ? undefined : stateValue(values[i], this.#dice.between(4, 300)),
    }))
    const transaction = this.model.submitted(changes, values)
    this.#open++
    this.#say(`state ${changes.map(({ key, value }, i) => `${key}=${value && values[i]}`).join(' ')}`)
    this.#flight.add(store.putMany(changes), (error) => {
      if (error === undefined) {
        this.model.acked(transaction)
        this.#open = 0
        return
      }
      this.#say(`state refused: ${codeOf(error)}`)
      if (!isRatatoskrError(error)) throw error
    })
  }
}

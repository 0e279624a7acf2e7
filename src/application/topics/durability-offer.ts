/** Which of a store's levels a publish gets when it asks for a level. */
import { type Durability, durabilityLevels, isAtLeast } from '../../domain/durability.ts'
import { RatatoskrError } from '../../domain/errors.ts'

export class DurabilityOffer {
  readonly #offered: readonly Durability[]
  /** The offered level for each level asked; a lookup on the hot path. */
  readonly #levelFor: ReadonlyMap<Durability, Durability>

  /** @param offered what the log store supports, weakest first */
  constructor(offered: readonly Durability[]) {
    if (offered.length === 0) throw new TypeError('a log store must support at least one durability level')
    this.#offered = offered
    const pairs: [Durability, Durability][] = []
    for (const asked of durabilityLevels) {
      const level = offered.find((candidate) => isAtLeast(candidate, asked))
      if (level !== undefined) pairs.push([asked, level])
    }
    this.#levelFor = new Map(pairs)
  }

  /** The level of a topic whose creator says nothing: the strongest. */
  get strongest(): Durability {
    return this.#offered[this.#offered.length - 1]
  }

  /**
   * The weakest offered level that is at least what was asked.
   * @throws RTK_DURABILITY_UNAVAILABLE when the store has none
   */
  levelFor(asked: Durability): Durability {
    const level = this.#levelFor.get(asked)
    if (level !== undefined) return level
    throw new RatatoskrError(
      'RTK_DURABILITY_UNAVAILABLE',
      `the storage cannot reach durability ${asked}; it offers ${this.#offered.join(', ')}`,
    )
  }
}

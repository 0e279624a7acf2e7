/**
 * The ids of idempotent producers. None is ever given twice: they are taken in blocks, and a block is on record in the
 * state store before the first of it is given. What a stop leaves of a block is never used.
 */
import { RatatoskrError, toRatatoskrError } from '../../domain/errors.ts'
import { type StateStore, utf8, utf8Text } from '../../ports/index.ts'

const key = 'producer-ids'
const idsPerBlock = 1_000
const firstId = 1

export class ProducerIds {
  readonly #state: StateStore
  #next = 0
  /** The first id that is not ours. */
  #end = 0
  #taking: Promise<void> | undefined

  constructor(state: StateStore) {
    this.#state = state
  }

  /** @throws RTK_STORE_FULL, RTK_STORE_FAILED, RTK_STORE_CORRUPT */
  async next(): Promise<number> {
    while (this.#next === this.#end) {
      this.#taking ??= this.#take().finally(() => {
        this.#taking = undefined
      })
      await this.#taking
    }
    return this.#next++
  }

  /** Forgets the block: whoever starts again may find that the store has gone on without him. */
  reset(): void {
    this.#next = this.#end
  }

  async #take(): Promise<void> {
    try {
      const stored = await this.#state.get(key)
      const from = stored === undefined ? firstId : idOf(stored.value)
      await this.#state.put(key, utf8(String(from + idsPerBlock)), stored?.version ?? 0)
      this.#next = from
      this.#end = from + idsPerBlock
    } catch (error) {
      throw toRatatoskrError(error, 'RTK_STORE_FAILED')
    }
  }
}

function idOf(value: Uint8Array): number {
  const text = utf8Text(value)
  const id = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(id)) return id
  throw new RatatoskrError(
    'RTK_STORE_CORRUPT',
    'the stored number of the next producer id cannot be read; restore the state of the broker from a backup',
  )
}

/** Messages in the turns of their keys: those that had to wait for theirs are handed out before anything that is new. */
import type { LeaseRange } from '../../ports/index.ts'
import type { ClientMessage } from '../client-message.ts'
import { KeyTurns, turnOf } from './key-turns.ts'

export class MessageTurns {
  readonly keys = new KeyTurns<ClientMessage>()
  /** Whether the group keeps the order of keys. */
  ordered = true
  /** Messages that had to wait for their turn, and have it now. */
  #ready: ClientMessage[] = []

  /** True when nobody has got his turn by waiting. */
  get isEmpty(): boolean {
    return this.#ready.length === 0
  }

  /** Who has waited longest of those that have their turn now. */
  takeReady(): ClientMessage | undefined {
    return this.#ready.shift()
  }

  /** Gives a message that has come the turn of its key. */
  place(message: ClientMessage): void {
    if (this.ordered && message.key !== undefined) message.turn = turnOf(message.partition, message.key)
  }

  /** The message is not being handled any more, or will not be. */
  end(message: ClientMessage): void {
    const next = this.keys.end(message)
    if (next !== undefined) this.#ready.push(next)
  }

  /** The broker has said what became of these leases. @returns true when somebody has his turn by it */
  known(range: LeaseRange): boolean {
    const ready = this.keys.known(range)
    this.#ready.push(...ready)
    return ready.length > 0
  }

  /** Nothing is handed out any more. */
  stop(): void {
    this.#ready = []
  }

  /** All leases are void. */
  clear(): void {
    this.keys.clear()
    for (const message of this.#ready.splice(0)) this.keys.end(message)
  }
}

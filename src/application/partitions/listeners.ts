/**
 * One-shot listeners, woken in a microtask: several appends of one turn wake each listener once, and what a listener
 * does or throws is no part of the publish that woke it.
 */
import type { Logger } from '../../ports/index.ts'

export class OneShotListeners {
  readonly #logger: Logger
  #waiting = new Set<() => void>()
  #scheduled = false

  constructor(logger: Logger) {
    this.#logger = logger
  }

  add(run: () => void): Disposable {
    // A closure of its own, so that the same function added twice is called twice.
    const once = (): void => run()
    const waiting = this.#waiting
    waiting.add(once)
    return { [Symbol.dispose]: () => void waiting.delete(once) }
  }

  wake(): void {
    if (this.#scheduled || this.#waiting.size === 0) return
    this.#scheduled = true
    queueMicrotask(() => this.#runAll())
  }

  #runAll(): void {
    this.#scheduled = false
    // Deleting while running keeps disposal by another listener effective; what is added meanwhile waits for the next wake.
    const added = this.#waiting
    this.#waiting = new Set()
    for (const run of added) {
      try {
        run()
      } catch (error) {
        this.#logger.error('a listener for new messages threw', { error })
      }
    }
  }
}

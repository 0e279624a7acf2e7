/**
 * One-shot listeners, woken in a microtask: several appends of one turn wake each listener once, and what a listener
 * does or throws is no part of the publish that woke it.
 */
import type { Logger } from '../../ports/index.ts'

/** One that waits, in a ring with the others: adding and leaving cost the same however many there are, and make nothing else. */
class Listener implements Disposable {
  readonly run: () => void
  before: Listener = this
  after: Listener = this

  constructor(run: () => void) {
    this.run = run
  }

  /** Comes behind `other`. */
  join(other: Listener): void {
    this.before = other
    this.after = other.after
    other.after.before = this
    other.after = this
  }

  leave(): void {
    this.before.after = this.after
    this.after.before = this.before
    this.before = this
    this.after = this
  }

  [Symbol.dispose](): void {
    this.leave()
  }
}

const nothing = (): void => {}

export class OneShotListeners {
  readonly #logger: Logger
  /** Where the ring of those that wait begins and ends. */
  readonly #ring = new Listener(nothing)
  /** The same of those that are being woken. */
  readonly #woken = new Listener(nothing)
  #scheduled = false

  constructor(logger: Logger) {
    this.#logger = logger
  }

  add(run: () => void): Disposable {
    const listener = new Listener(run)
    listener.join(this.#ring.before)
    return listener
  }

  wake(): void {
    if (this.#scheduled || this.#ring.after === this.#ring) return
    this.#scheduled = true
    queueMicrotask(this.#runAll)
  }

  readonly #runAll = (): void => {
    this.#scheduled = false
    // In a ring of their own one can still be disposed of by another; what is added meanwhile waits for the next wake.
    const woken = this.#woken
    woken.join(this.#ring)
    this.#ring.leave()
    while (woken.after !== woken) {
      const listener = woken.after
      listener.leave()
      try {
        listener.run()
      } catch (error) {
        this.#logger.error('a listener for new messages threw', { error })
      }
    }
  }
}

/** One change at a time for each name; changes of different names go side by side. */

export class NameLocks {
  readonly #tails = new Map<string, Promise<unknown>>()

  /** Runs `change` after all earlier changes under the same name have settled. */
  run<T>(name: string, change: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(name)
    const result = before === undefined ? change() : before.then(change, change)
    const tail: Promise<void> = result.then(
      () => this.#release(name, tail),
      () => this.#release(name, tail),
    )
    this.#tails.set(name, tail)
    return result
  }

  /** Resolves when no change is under way. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values())
  }

  #release(name: string, tail: Promise<unknown>): void {
    if (this.#tails.get(name) === tail) this.#tails.delete(name)
  }
}

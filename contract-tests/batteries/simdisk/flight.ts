/** Calls of a storage that go on while the next are made. */
export class Flight {
  readonly #under = new Set<Promise<unknown>>()

  /** @param told called when the call has settled: without an error, or with what it was refused for */
  add(call: Promise<unknown>, told: (error: unknown) => void): void {
    const done = call.then(
      () => told(undefined),
      (error: unknown) => told(error ?? new Error('refused without a reason')),
    )
    // Its failure is for whoever waits.
    done.catch(() => undefined)
    this.#under.add(done)
  }

  /** Resolves when all that are under way have settled. @throws what one of them was told and did not bear */
  async landed(): Promise<void> {
    const all = [...this.#under]
    this.#under.clear()
    await Promise.all(all)
  }
}

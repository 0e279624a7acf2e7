/** How many publishes are not acknowledged yet, and waiting for room. */
export class InFlight {
  readonly #max: number
  #count = 0
  #failed: Error | undefined
  #room: PromiseWithResolvers<void> | undefined
  #none: PromiseWithResolvers<void> | undefined

  constructor(max: number) {
    this.#max = max
  }

  begun(): void {
    this.#count++
  }

  done(): void {
    this.#count--
    this.#wake()
  }

  // One pair for all publishes: closures for each would live as long as it is under way.
  readonly #stored = (): void => this.done()
  readonly #refused = (error: unknown): void => {
    this.#failed ??= error as Error
    this.done()
  }

  /** Counts until it settles. A failure is thrown by whoever waits next. */
  add(publish: Promise<unknown>): void {
    this.#count++
    publish.then(this.#stored, this.#refused)
  }

  /** No more may be published now, or ever. */
  get isFull(): boolean {
    return this.#count >= this.#max || this.#failed !== undefined
  }

  /** Undefined while there is room; else what to wait for. */
  ready(): Promise<void> | undefined {
    if (this.#failed !== undefined) return Promise.reject(this.#failed)
    if (this.#count < this.#max) return undefined
    this.#room ??= Promise.withResolvers<void>()
    return this.#room.promise
  }

  async flush(): Promise<void> {
    if (this.#count > 0) {
      this.#none ??= Promise.withResolvers<void>()
      await this.#none.promise
    }
    if (this.#failed !== undefined) throw this.#failed
  }

  #wake(): void {
    // Half of the room at least, so that waking is not paid for each message.
    if (this.#room !== undefined && this.#count <= this.#max / 2) {
      this.#room.resolve()
      this.#room = undefined
    }
    if (this.#none !== undefined && this.#count === 0) {
      this.#none.resolve()
      this.#none = undefined
    }
  }
}

/**
 * How far ahead of deliveries the stored delivery bound is raised. After a crash everything below it counts as perhaps
 * delivered; before each write it is all that may be delivered. So it follows what was delivered lately: a slow group is
 * in doubt about a few messages, and a fast one waits for no write beside those of its checkpoints.
 */

const stepMin = 64
/** Before anything is known of the group. */
const stepFirst = 1_024
const stepMax = 10_000
/** Of what was delivered between two checkpoints, so that the bound is not reached before the next one. */
const ahead = 8

export class BoundStep {
  readonly #fixed: number | undefined
  #step: number
  #deliveredTo: number

  /** @param start where deliveries begin @param fixed the step, for who knows better */
  constructor(start: number, fixed: number | undefined) {
    this.#fixed = fixed
    this.#step = fixed ?? stepFirst
    this.#deliveredTo = start
  }

  get now(): number {
    return this.#step
  }

  /** A checkpoint is made: nothing from `deliveredTo` on was delivered. @returns the step from now on */
  next(deliveredTo: number): number {
    const delivered = Math.max(0, deliveredTo - this.#deliveredTo)
    this.#deliveredTo = deliveredTo
    const wanted = Math.max(delivered * ahead, this.#step / 2)
    this.#step = this.#fixed ?? Math.min(stepMax, Math.max(stepMin, Math.ceil(wanted)))
    return this.#step
  }
}

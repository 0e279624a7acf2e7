/**
 * How far ahead of deliveries the stored delivery bound is raised. After a crash everything below it counts as perhaps
 * delivered; before each write it is all that may be delivered. So it follows what was delivered lately: a slow group is
 * in doubt about a few messages, and a fast one waits for no write beside those of its checkpoints.
 */

const stepMin = 64
/** Before anything is known of the group. */
const stepFirst = 1_024
const stepMax = 10_000
/** Or so much of what is unsettled: each step may cost a walk over all of it. */
const partOfUnsettled = 1 / 8
/** Of what was delivered between two checkpoints, so that the bound is not reached before the next one. */
const ahead = 8

export class BoundStep {
  readonly #fixed: number | undefined
  #step: number
  #deliveredTo: number | undefined

  /** @param fixed the step, for who knows better */
  constructor(fixed: number | undefined) {
    this.#fixed = fixed
    this.#step = fixed ?? stepFirst
  }

  get now(): number {
    return this.#step
  }

  /** A checkpoint is made: nothing from `deliveredTo` on was delivered, and so much is not settled. @returns the step from now on */
  next(deliveredTo: number, unsettled: number): number {
    const before = this.#deliveredTo
    this.#deliveredTo = deliveredTo
    if (before === undefined) return this.#step
    const wanted = Math.max((deliveredTo - before) * ahead, this.#step / 2)
    const most = Math.max(stepMax, unsettled * partOfUnsettled)
    this.#step = this.#fixed ?? Math.floor(Math.min(most, Math.max(stepMin, wanted)))
    return this.#step
  }
}

/** Metrics of a broker that was given none: every instrument takes what it gets and keeps nothing. */
import type { Metrics } from '../ports/index.ts'

const nothing: Disposable = { [Symbol.dispose]() {} }
const counter = { add() {} }
const histogram = { record() {} }

export const noMetrics: Metrics = Object.freeze({
  counter: () => counter,
  histogram: () => histogram,
  gauge: () => nothing,
})

/**
 * Reports of scenarios that measure several things: one figure each, with the median and range of all runs, and what was
 * asked of it where something was.
 */

import { median, type Range, rangeOf, rounded } from '../../src/cli/bench/statistics.ts'
import { type Machine, machine } from './machine.ts'
import type { ProcessorShare } from './processor-share.ts'

export type Unit =
  | 'MB/s'
  | 'MB'
  | 'ms'
  | 's'
  | '×'
  | '/s'
  | 'bytes'
  | 'acks/sync'
  | 'MB/min'
  | 'descriptors'
  | 'messages'
  | 'µs'
  | 'ns'
  | 'KiB'
  | '%'

/** A bound that a figure's median is held to. */
export type Asked = { readonly atLeast: number } | { readonly atMost: number }

export interface Figure {
  readonly name: string
  readonly unit: Unit
  readonly median: number
  readonly range: Range
  /** What is asked of the median; absent where nothing is. */
  readonly asked?: Asked
  readonly met?: boolean
}

/** A peer that could not take part, and why. */
export interface Missing {
  readonly name: string
  readonly why: string
}

export interface FigureReport {
  readonly scenario: string
  readonly storage: string
  readonly runs: number
  readonly figures: readonly Figure[]
  /** Peers that were asked for and are not installed. */
  readonly missing: readonly Missing[]
  /** What no figure says; absent where there is nothing. */
  readonly notes?: readonly string[]
  readonly machine: Machine
  /** Of the whole scenario. */
  readonly processors?: ProcessorShare
}

interface Series {
  readonly unit: Unit
  readonly asked: Asked | undefined
  readonly values: number[]
}

/** Collects values by name over the runs. */
export class Figures {
  readonly #series = new Map<string, Series>()
  readonly #missing: Missing[] = []
  readonly #notes: string[] = []

  /** Adds one run's value. Unit and bound are those of the first. */
  add(name: string, unit: Unit, value: number, asked?: Asked): void {
    const series = this.#series.get(name) ?? { unit, asked, values: [] }
    series.values.push(value)
    this.#series.set(name, series)
  }

  /** A peer that could not take part. */
  missing(name: string, why: string): void {
    if (!this.#missing.some((one) => one.name === name)) this.#missing.push({ name, why })
  }

  /** Something that is no number, for the end of the report. */
  note(text: string): void {
    this.#notes.push(text)
  }

  report(scenario: string, storage: string): FigureReport {
    const figures = Array.from(this.#series, ([name, series]) => figureOf(name, series))
    const runs = Math.max(0, ...Array.from(this.#series.values(), ({ values }) => values.length))
    const notes = this.#notes.length === 0 ? {} : { notes: this.#notes }
    return { scenario, storage, runs, figures, missing: this.#missing, ...notes, machine: machine() }
  }
}

function figureOf(name: string, { unit, asked, values }: Series): Figure {
  const middle = median(values)
  const [least, most] = rangeOf(values)
  const figure = { name, unit, median: rounded(middle), range: [rounded(least), rounded(most)] as const }
  if (asked === undefined) return figure
  return { ...figure, asked, met: 'atLeast' in asked ? middle >= asked.atLeast : middle <= asked.atMost }
}

/**
 * Reports of scenarios that measure several things: one figure each, with the median and range of all runs, and what was
 * asked of it where something was.
 */
import { type Machine, machine } from './report.ts'

export type Unit = 'MB/s' | 'MB' | 'ms' | 's' | '×' | '/s' | 'bytes' | 'acks/sync' | 'MB/min' | 'descriptors'

/** A bound that a figure's median is held to. */
export type Asked = { readonly atLeast: number } | { readonly atMost: number }

interface Figure {
  readonly name: string
  readonly unit: Unit
  readonly median: number
  readonly range: readonly [least: number, most: number]
  /** What is asked of the median; absent where nothing is. */
  readonly asked?: Asked
  readonly met?: boolean
}

export interface FigureReport {
  readonly scenario: string
  readonly storage: string
  readonly runs: number
  readonly figures: readonly Figure[]
  readonly machine: Machine
}

interface Series {
  readonly unit: Unit
  readonly asked: Asked | undefined
  readonly values: number[]
}

/** Collects values by name over the runs. */
export class Figures {
  readonly #series = new Map<string, Series>()

  /** Adds one run's value. Unit and bound are those of the first. */
  add(name: string, unit: Unit, value: number, asked?: Asked): void {
    const series = this.#series.get(name) ?? { unit, asked, values: [] }
    series.values.push(value)
    this.#series.set(name, series)
  }

  report(scenario: string, storage: string): FigureReport {
    const figures = Array.from(this.#series, ([name, series]) => figureOf(name, series))
    const runs = Math.max(0, ...Array.from(this.#series.values(), ({ values }) => values.length))
    return { scenario, storage, runs, figures, machine: machine() }
  }
}

function figureOf(name: string, { unit, asked, values }: Series): Figure {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  const figure = {
    name,
    unit,
    median: rounded(median),
    range: [sorted[0], sorted[sorted.length - 1]] as const,
  }
  const range = [rounded(figure.range[0]), rounded(figure.range[1])] as const
  if (asked === undefined) return { ...figure, range }
  return {
    ...figure,
    range,
    asked,
    met: 'atLeast' in asked ? median >= asked.atLeast : median <= asked.atMost,
  }
}

/** Four digits that count: more would promise what no run repeats. */
const rounded = (value: number): number => (value === 0 ? 0 : Number(value.toPrecision(4)))

/** The figures as a table to read. */
export function tableOf({ scenario, figures }: FigureReport): string {
  const head = ['figure', 'median', 'range', 'asked', '']
  const rows = figures.map(({ name, unit, median, range, asked, met }) => [
    name,
    `${median} ${unit}`,
    `${range[0]} to ${range[1]}`,
    asked === undefined ? '' : 'atLeast' in asked ? `≥ ${asked.atLeast}` : `≤ ${asked.atMost}`,
    met === undefined ? '' : met ? 'met' : 'MISSED',
  ])
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column].length)))
  const lines = [head, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  )
  return [scenario, ...lines].join('\n')
}

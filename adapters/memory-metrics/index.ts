/**
 * Metrics kept in this process and read by `snapshot()`: for tests, for a `/metrics` page, and for embedding without a
 * metrics system. Adding is a field and nothing else.
 */
import {
  type Counter,
  type Histogram,
  type MetricLabels,
  type Metrics,
  metricLabelsKey,
} from 'ratatoskr/ports'

/** Bounds of what is kept. */
export interface MemoryMetricsOptions {
  /**
   * Series of one name; what comes above it is counted in one series labelled `overflow="true"`, and gauges above it are
   * left out. 1,000 by default.
   */
  readonly seriesPerNameMax?: number | undefined
  /** Upper bounds of the histograms' buckets, rising; by default 1, 2.5 and 5 times each power of ten, 0.01 to 100 million. */
  readonly bucketBounds?: readonly number[] | undefined
}

/** One series as it stood when the snapshot was taken. */
export type MetricSample =
  | {
      readonly kind: 'counter' | 'gauge'
      readonly name: string
      readonly labels: MetricLabels
      readonly value: number
    }
  | {
      readonly kind: 'histogram'
      readonly name: string
      readonly labels: MetricLabels
      readonly count: number
      readonly sum: number
      /** Zero when nothing was recorded. */
      readonly min: number
      readonly max: number
      readonly buckets: readonly HistogramBucket[]
    }

/** Values of a range. */
export interface HistogramBucket {
  /** Values up to and including it; infinite for the last bucket. */
  readonly upTo: number
  /** Values in this bucket alone. */
  readonly count: number
}

/** Metrics that can be looked at. */
export interface MemoryMetrics extends Metrics {
  /** Every series, by name and then in the order in which they were made. */
  snapshot(): readonly MetricSample[]
}

/** Makes metrics that stay in memory. */
export function memoryMetrics(options: MemoryMetricsOptions = {}): MemoryMetrics {
  const seriesMax = options.seriesPerNameMax ?? 1_000
  const bounds = options.bucketBounds ?? defaultBounds
  const counters = new Family((name, labels) => new MemoryCounter(name, labels), seriesMax)
  const histograms = new Family((name, labels) => new MemoryHistogram(name, labels, bounds), seriesMax)
  const gauges = new Map<string, Map<string, Gauge>>()
  return {
    counter: (name, labels) => counters.get(name, labels),
    histogram: (name, labels) => histograms.get(name, labels),
    gauge: (name, read, labels = {}) => addGauge(gauges, { name, labels: { ...labels }, read }, seriesMax),
    snapshot: () =>
      [...counters.samples(), ...histograms.samples(), ...gaugeSamples(gauges)].sort((a, b) =>
        a.name < b.name ? -1 : a.name > b.name ? 1 : 0,
      ),
  }
}

const defaultBounds: readonly number[] = Array.from({ length: 11 }, (_, place) => 10 ** (place - 2)).flatMap(
  (ten) => (ten === 1e8 ? [ten] : [ten, ten * 2.5, ten * 5]),
)

interface Sampled {
  sample(): MetricSample
}

/** The series of one kind, by name and labels. */
class Family<Series extends Sampled> {
  readonly #make: (name: string, labels: MetricLabels) => Series
  readonly #seriesMax: number
  readonly #byName = new Map<string, Map<string, Series>>()

  constructor(make: (name: string, labels: MetricLabels) => Series, seriesMax: number) {
    this.#make = make
    this.#seriesMax = seriesMax
  }

  get(name: string, labels: MetricLabels = {}): Series {
    let byLabels = this.#byName.get(name)
    if (byLabels === undefined) this.#byName.set(name, (byLabels = new Map()))
    const key = metricLabelsKey(labels)
    const known = byLabels.get(key)
    if (known !== undefined) return known
    if (byLabels.size >= this.#seriesMax && key !== overflowKey) return this.get(name, overflowLabels)
    const series = this.#make(name, { ...labels })
    byLabels.set(key, series)
    return series
  }

  *samples(): Generator<MetricSample> {
    for (const byLabels of this.#byName.values())
      for (const series of byLabels.values()) yield series.sample()
  }
}

const overflowLabels: MetricLabels = Object.freeze({ overflow: 'true' })
const overflowKey = metricLabelsKey(overflowLabels)

class MemoryCounter implements Counter, Sampled {
  readonly #name: string
  readonly #labels: MetricLabels
  #value = 0

  constructor(name: string, labels: MetricLabels) {
    this.#name = name
    this.#labels = labels
  }

  add(n: number): void {
    if (n > 0 && n < Number.POSITIVE_INFINITY) this.#value += n
  }

  sample(): MetricSample {
    return { kind: 'counter', name: this.#name, labels: this.#labels, value: this.#value }
  }
}

class MemoryHistogram implements Histogram, Sampled {
  readonly #name: string
  readonly #labels: MetricLabels
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #count = 0
  #sum = 0
  #min = Number.POSITIVE_INFINITY
  #max = Number.NEGATIVE_INFINITY

  constructor(name: string, labels: MetricLabels, bounds: readonly number[]) {
    this.#name = name
    this.#labels = labels
    this.#bounds = bounds
    this.#counts = Array<number>(bounds.length + 1).fill(0)
  }

  record(value: number): void {
    if (!Number.isFinite(value)) return
    this.#count++
    this.#sum += value
    if (value < this.#min) this.#min = value
    if (value > this.#max) this.#max = value
    let low = 0
    let high = this.#bounds.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (value <= this.#bounds[middle]) high = middle
      else low = middle + 1
    }
    this.#counts[low]++
  }

  sample(): MetricSample {
    const buckets = this.#counts.map((count, place) => ({
      upTo: this.#bounds[place] ?? Number.POSITIVE_INFINITY,
      count,
    }))
    const none = this.#count === 0
    return {
      kind: 'histogram',
      name: this.#name,
      labels: this.#labels,
      count: this.#count,
      sum: this.#sum,
      min: none ? 0 : this.#min,
      max: none ? 0 : this.#max,
      buckets,
    }
  }
}

interface Gauge {
  readonly name: string
  readonly labels: MetricLabels
  readonly read: () => number
}

function addGauge(gauges: Map<string, Map<string, Gauge>>, gauge: Gauge, seriesMax: number): Disposable {
  let byLabels = gauges.get(gauge.name)
  if (byLabels === undefined) gauges.set(gauge.name, (byLabels = new Map()))
  const series = byLabels
  const key = metricLabelsKey(gauge.labels)
  if (series.has(key) || series.size < seriesMax) series.set(key, gauge)
  return {
    [Symbol.dispose]: () => {
      if (series.get(key) === gauge) series.delete(key)
    },
  }
}

function* gaugeSamples(gauges: ReadonlyMap<string, ReadonlyMap<string, Gauge>>): Generator<MetricSample> {
  for (const byLabels of gauges.values()) {
    for (const { name, labels, read } of byLabels.values()) {
      const value = finiteOf(read)
      if (value !== undefined) yield { kind: 'gauge', name, labels, value }
    }
  }
}

function finiteOf(read: () => number): number | undefined {
  try {
    const value = read()
    return Number.isFinite(value) ? value : undefined
  } catch {
    return undefined
  }
}

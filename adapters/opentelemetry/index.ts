/**
 * Metrics into OpenTelemetry, through its API package alone: the application brings the SDK and the exporter.
 *
 * Adding to an SDK's counter costs a hundred times what adding to a field does, so that counters are plain fields here,
 * published through observable instruments when the SDK collects. Histograms have no observable form and are recorded
 * directly.
 */
import {
  type Histogram as ApiHistogram,
  type Attributes,
  metrics as globalMetrics,
  type Meter,
  type MeterProvider,
  type Observable,
  type ObservableCallback,
} from '@opentelemetry/api'
import { type Counter, type MetricLabels, type Metrics, metricLabelsKey } from 'ratatoskr/ports'

/** Where instruments are made, and how many series. */
export interface OpenTelemetryMetricsOptions {
  /** Where instruments are made. By default the global one, which the SDK must have registered before this is called. */
  readonly meterProvider?: MeterProvider | undefined
  /** Series of one name; what comes above it goes to one series labelled `overflow="true"`. 1,000 by default. */
  readonly seriesPerNameMax?: number | undefined
}

/** Disposing takes the callbacks back, so that a provider which lives on holds nothing of the broker. */
export interface OpenTelemetryMetrics extends Metrics, Disposable {}

/** Makes metrics that an OpenTelemetry SDK collects. */
export function openTelemetryMetrics(options: OpenTelemetryMetricsOptions = {}): OpenTelemetryMetrics {
  const provider = options.meterProvider ?? globalMetrics.getMeterProvider()
  return new ObservedMetrics(provider.getMeter('ratatoskr'), options.seriesPerNameMax ?? 1_000)
}

interface Series {
  readonly attributes: Attributes
  readonly read: () => number
}

/** One observable instrument with all its series. */
interface Observed {
  readonly series: Map<string, Series>
  readonly instrument: Observable
  readonly callback: ObservableCallback
}

class FieldCounter implements Counter {
  value = 0

  add(n: number): void {
    if (n > 0 && n < Number.POSITIVE_INFINITY) this.value += n
  }
}

const overflowLabels: MetricLabels = Object.freeze({ overflow: 'true' })
const overflowKey = metricLabelsKey(overflowLabels)

class ObservedMetrics implements OpenTelemetryMetrics {
  readonly #meter: Meter
  readonly #seriesMax: number
  readonly #observed = new Map<string, Observed>()
  readonly #counters = new Map<string, Map<string, FieldCounter>>()
  readonly #histograms = new Map<string, ApiHistogram>()
  readonly #histogramSeries = new Map<string, Set<string>>()

  constructor(meter: Meter, seriesMax: number) {
    this.#meter = meter
    this.#seriesMax = seriesMax
  }

  counter(name: string, labels: MetricLabels = {}): Counter {
    const byLabels = entry(this.#counters, name, () => new Map<string, FieldCounter>())
    const { key, attributes } = bounded(byLabels, labels, this.#seriesMax)
    return entry(byLabels, key, () => {
      const counter = new FieldCounter()
      const observed = this.#observe(name, () => this.#meter.createObservableCounter(name, unitOf(name)))
      observed.series.set(key, { attributes, read: () => counter.value })
      return counter
    })
  }

  histogram(name: string, labels: MetricLabels = {}): { record(value: number): void } {
    const histogram = entry(this.#histograms, name, () => this.#meter.createHistogram(name, unitOf(name)))
    const known = entry(this.#histogramSeries, name, () => new Set<string>())
    const { key, attributes } = bounded(known, labels, this.#seriesMax)
    known.add(key)
    return {
      record: (value) => {
        if (Number.isFinite(value)) histogram.record(value, attributes)
      },
    }
  }

  gauge(name: string, read: () => number, labels: MetricLabels = {}): Disposable {
    const { series } = this.#observe(name, () => this.#meter.createObservableGauge(name, unitOf(name)))
    const key = metricLabelsKey(labels)
    const gauge: Series = { attributes: { ...labels }, read }
    if (series.has(key) || series.size < this.#seriesMax) series.set(key, gauge)
    return {
      [Symbol.dispose]: () => {
        if (series.get(key) === gauge) series.delete(key)
      },
    }
  }

  [Symbol.dispose](): void {
    for (const { instrument, callback, series } of this.#observed.values()) {
      instrument.removeCallback(callback)
      series.clear()
    }
    this.#observed.clear()
    this.#counters.clear()
  }

  #observe(name: string, make: () => Observable): Observed {
    return entry(this.#observed, name, () => {
      const series = new Map<string, Series>()
      const callback: ObservableCallback = (result) => {
        for (const { attributes, read } of series.values()) {
          const value = finiteOf(read)
          if (value !== undefined) result.observe(value, attributes)
        }
      }
      const instrument = make()
      instrument.addCallback(callback)
      return { series, instrument, callback }
    })
  }
}

function entry<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  let value = map.get(key)
  if (value === undefined) map.set(key, (value = make()))
  return value
}

/** The series that labels belong to: their own, or the one for all that are too many. */
function bounded(
  known: { readonly size: number; has(key: string): boolean },
  labels: MetricLabels,
  seriesMax: number,
): { readonly key: string; readonly attributes: Attributes } {
  const key = metricLabelsKey(labels)
  if (known.has(key) || known.size < seriesMax) return { key, attributes: { ...labels } }
  return { key: overflowKey, attributes: overflowLabels }
}

/** The unit that the end of the name says, in the notation of UCUM. */
function unitOf(name: string): { readonly unit?: string } {
  if (name.endsWith('_ms')) return { unit: 'ms' }
  if (name.endsWith('bytes')) return { unit: 'By' }
  if (name.endsWith('messages')) return { unit: '{message}' }
  return {}
}

function finiteOf(read: () => number): number | undefined {
  try {
    const value = read()
    return Number.isFinite(value) ? value : undefined
  } catch {
    return undefined
  }
}

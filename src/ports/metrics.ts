/** Where measurements go. The specification of this port is `metricsContract` in `ratatoskr/contract-tests`. */

/** Labels of a series: few, with few values each. Never message ids, keys or client names. */
export type MetricLabels = Readonly<Record<string, string>>

export interface Counter {
  /** @param n at least 0; a counter never falls */
  add(n: number): void
}

export interface Histogram {
  record(value: number): void
}

/**
 * Instruments are bound to their labels when they are made and kept by the caller: adding is then one call without
 * lookups. Asking again for the same name and labels gives the same series.
 * Names are dotted lower case with the unit last, such as `ratatoskr.publish.duration_ms`.
 */
export interface Metrics {
  counter(name: string, labels?: MetricLabels): Counter
  histogram(name: string, labels?: MetricLabels): Histogram
  /** `read` is called when someone looks. Disposing removes the series. */
  gauge(name: string, read: () => number, labels?: MetricLabels): Disposable
}

/** Where measurements go. The specification of this port is `metricsContract` in `ratatoskr/contract-tests`. */

/** Labels of a series: few, with few values each. Never message ids, keys or client names. */
export type MetricLabels = Readonly<Record<string, string>>

/** A sum that only grows. */
export interface Counter {
  /** @param n finite and at least 0; anything else is ignored, for a counter never falls. Never throws. */
  add(n: number): void
}

/** A distribution of values. */
export interface Histogram {
  /** @param value finite; anything else is ignored. Never throws. */
  record(value: number): void
}

/**
 * Instruments are bound to their labels when they are made and kept by the caller: adding is then one call without
 * lookups. Asking again for the same name and labels gives the same series.
 * Names are dotted lower case with the unit last, such as `ratatoskr.publish.duration_ms`. Callers check names and labels
 * by `assertMetricSeries`; back-ends rely on it. A name is used for one kind of instrument only.
 */
export interface Metrics {
  counter(name: string, labels?: MetricLabels): Counter
  histogram(name: string, labels?: MetricLabels): Histogram
  /**
   * `read` is called when someone looks; when it throws or gives no finite number, the series is left out that time.
   * The newest gauge of a series takes the place of the one before. Disposing removes the series.
   */
  gauge(name: string, read: () => number, labels?: MetricLabels): Disposable
}

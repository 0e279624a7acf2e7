import {
  type Attributes,
  type BatchObservableCallback,
  createNoopMeter,
  metrics as globalMetrics,
  type Histogram,
  type Meter,
  type MetricOptions,
  type Observable,
  type ObservableCallback,
} from '@opentelemetry/api'
import { type Measured, metricsContract } from 'ratatoskr/contract-tests'
import { expect, it } from 'vitest'
import { openTelemetryMetrics } from './index.ts'

/** What an SDK does when it collects, without one: runs the callbacks and keeps what they and the histograms say. */
class CollectingProvider {
  readonly made: { readonly kind: string; readonly name: string; readonly unit: string | undefined }[] = []
  readonly meters: string[] = []
  readonly #callbacks: { readonly name: string; readonly run: ObservableCallback }[] = []
  readonly #recorded = new Map<string, Measured & { count: number; value: number }>()

  getMeter(name: string): Meter {
    this.meters.push(name)
    const observable =
      (kind: string) =>
      (name: string, options?: MetricOptions): Observable => {
        this.made.push({ kind, name, unit: options?.unit })
        return {
          addCallback: (run) => void this.#callbacks.push({ name, run }),
          removeCallback: (run) => {
            const place = this.#callbacks.findIndex((one) => one.run === run)
            if (place !== -1) this.#callbacks.splice(place, 1)
          },
        }
      }
    return Object.assign(createNoopMeter(), {
      createObservableCounter: observable('counter'),
      createObservableGauge: observable('gauge'),
      createHistogram: (name: string, options?: MetricOptions): Histogram => {
        this.made.push({ kind: 'histogram', name, unit: options?.unit })
        return { record: (value, attributes = {}) => this.#record(name, value, attributes) }
      },
      addBatchObservableCallback: (_: BatchObservableCallback) => expect.fail('one callback an instrument'),
    })
  }

  async collect(): Promise<readonly Measured[]> {
    const seen: Measured[] = [...this.#recorded.values()]
    for (const { name, run } of this.#callbacks) {
      await run({
        observe: (value, attributes = {}) => {
          seen.push({ name, labels: attributes as Record<string, string>, value })
        },
      })
    }
    return seen
  }

  get callbacks(): number {
    return this.#callbacks.length
  }

  #record(name: string, value: number, attributes: Attributes): void {
    const key = name + JSON.stringify(attributes)
    const before = this.#recorded.get(key) ?? { count: 0, value: 0 }
    const labels = attributes as Record<string, string>
    this.#recorded.set(key, { name, labels, count: before.count + 1, value: before.value + value })
  }
}

metricsContract('OpenTelemetry metrics', async () => {
  const provider = new CollectingProvider()
  const subject = openTelemetryMetrics({ meterProvider: provider })
  return {
    subject,
    collect: () => provider.collect(),
    teardown: async () => subject[Symbol.dispose](),
  }
})

it('makes one instrument a name, observable but for histograms, with the unit that the name says', () => {
  const provider = new CollectingProvider()
  const metrics = openTelemetryMetrics({ meterProvider: provider })
  for (const topic of ['a', 'b']) {
    metrics.counter('published.messages', { topic }).add(1)
    metrics.counter('published.bytes', { topic }).add(1)
    metrics.histogram('publish.duration_ms', { topic }).record(1)
    metrics.gauge('topics', () => 1, { topic })
  }
  expect(provider.meters).toEqual(['ratatoskr'])
  expect(provider.made).toEqual([
    { kind: 'counter', name: 'published.messages', unit: '{message}' },
    { kind: 'counter', name: 'published.bytes', unit: 'By' },
    { kind: 'histogram', name: 'publish.duration_ms', unit: 'ms' },
    { kind: 'gauge', name: 'topics', unit: undefined },
  ])
})

it('takes its callbacks back', async () => {
  const provider = new CollectingProvider()
  const metrics = openTelemetryMetrics({ meterProvider: provider })
  metrics.counter('published').add(1)
  metrics.gauge('topics', () => 1)
  expect(provider.callbacks).toBe(2)
  metrics[Symbol.dispose]()
  expect(provider.callbacks).toBe(0)
  expect(await provider.collect()).toEqual([])
})

it('leaves gauges out that come above the bound, and gathers histograms in one series', async () => {
  const provider = new CollectingProvider()
  const metrics = openTelemetryMetrics({ meterProvider: provider, seriesPerNameMax: 2 })
  for (const id of ['1', '2', '3', '4']) {
    metrics.gauge('g', () => 1, { id })
    metrics.histogram('h', { id }).record(1)
  }
  const seen = await provider.collect()
  expect(seen.filter((one) => one.name === 'g').map((one) => one.labels)).toEqual([{ id: '1' }, { id: '2' }])
  expect(seen.filter((one) => one.name === 'h').map((one) => one.labels)).toEqual([
    { id: '1' },
    { id: '2' },
    { overflow: 'true' },
  ])
})

it('uses the global provider otherwise, and costs nothing but a field when nobody registered one', () => {
  const counter = openTelemetryMetrics().counter('published')
  expect(() => counter.add(1)).not.toThrow()
  const provider = new CollectingProvider()
  globalMetrics.setGlobalMeterProvider(provider)
  openTelemetryMetrics().counter('published').add(1)
  globalMetrics.disable()
  expect(provider.made).toMatchObject([{ kind: 'counter', name: 'published' }])
})

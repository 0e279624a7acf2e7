/** The specification of the `Metrics` port as a suite. */
import type { MetricLabels, Metrics } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, type ContractContext, type ContractOptions, defineContract } from './suite.ts'

/** A series as the back-end shows it. */
export interface Measured {
  readonly name: string
  readonly labels: MetricLabels
  /** Of a counter or gauge the value, of a histogram the sum. */
  readonly value: number
  /** Of a histogram, how many values were recorded. */
  readonly count?: number | undefined
}

/** What the metrics suite asks of a setup. */
export interface MetricsContext extends ContractContext {
  readonly subject: Metrics
  /** What the back-end would report now. */
  collect(): Promise<readonly Measured[]>
}

/** Runs the suite against a metrics back-end. */
export const metricsContract = (
  title: string,
  setup: () => Promise<MetricsContext>,
  options?: ContractOptions,
): void => defineContract(title, metricsCases, setup, options)

async function find(
  context: MetricsContext,
  name: string,
  labels: MetricLabels = {},
): Promise<Measured | undefined> {
  const found = (await context.collect()).filter(
    (one) => one.name === name && JSON.stringify(sorted(one.labels)) === JSON.stringify(sorted(labels)),
  )
  expect(found.length, `series of ${name} ${JSON.stringify(labels)}`).toBeLessThanOrEqual(1)
  return found[0]
}

const sorted = (labels: MetricLabels) => Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
const valueIn = async (context: MetricsContext, name: string, labels?: MetricLabels) =>
  (await find(context, name, labels))?.value

/** Every case of the suite, for running it on metrics that must fail it. */
export const metricsCases: readonly ContractCase<MetricsContext>[] = [
  {
    name: 'a counter adds up, also fractions and nothing',
    async run(context) {
      const counter = context.subject.counter('test.added.messages')
      for (const n of [1, 2, 0, 0.5]) counter.add(n)
      expect(await valueIn(context, 'test.added.messages')).toBe(3.5)
      counter.add(1)
      expect(await valueIn(context, 'test.added.messages')).toBe(4.5)
    },
  },
  {
    name: 'a counter never falls: what is negative, endless or no number is ignored',
    async run(context) {
      const counter = context.subject.counter('test.monotonic')
      counter.add(5)
      for (const n of [-1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) counter.add(n)
      expect(await valueIn(context, 'test.monotonic')).toBe(5)
    },
  },
  {
    name: 'the same name and labels are the same series, in whatever order the labels come',
    async run(context) {
      context.subject.counter('test.same', { a: '1', b: '2' }).add(1)
      context.subject.counter('test.same', { b: '2', a: '1' }).add(2)
      expect(await valueIn(context, 'test.same', { a: '1', b: '2' })).toBe(3)
    },
  },
  {
    name: 'other labels are another series',
    async run(context) {
      const { subject } = context
      subject.counter('test.labels').add(1)
      subject.counter('test.labels', { a: '1' }).add(2)
      subject.counter('test.labels', { a: '2' }).add(4)
      subject.counter('test.labels', { b: '1' }).add(8)
      subject.counter('test.labels', { a: '1,b=2' }).add(16)
      subject.counter('test.labels', { a: '1', b: '2' }).add(32)
      expect(await valueIn(context, 'test.labels')).toBe(1)
      expect(await valueIn(context, 'test.labels', { a: '1' })).toBe(2)
      expect(await valueIn(context, 'test.labels', { a: '2' })).toBe(4)
      expect(await valueIn(context, 'test.labels', { b: '1' })).toBe(8)
      expect(await valueIn(context, 'test.labels', { a: '1,b=2' })).toBe(16)
      expect(await valueIn(context, 'test.labels', { a: '1', b: '2' })).toBe(32)
    },
  },
  {
    name: 'labels are copied: the caller may change the object afterwards',
    async run(context) {
      const labels: Record<string, string> = { a: '1' }
      const counter = context.subject.counter('test.copied', labels)
      labels.a = '2'
      counter.add(1)
      expect(await valueIn(context, 'test.copied', { a: '1' })).toBe(1)
      expect(await valueIn(context, 'test.copied', { a: '2' })).toBeUndefined()
    },
  },
  {
    name: 'label values may be any text',
    async run(context) {
      const odd = { a: 'quote " backslash \\ line\nfeed', b: '', c: 'é🐿' }
      context.subject.counter('test.odd', odd).add(1)
      expect(await valueIn(context, 'test.odd', odd)).toBe(1)
    },
  },
  {
    name: 'a histogram counts and sums what it records, and ignores what is no finite number',
    async run(context) {
      const histogram = context.subject.histogram('test.duration_ms', { a: '1' })
      for (const value of [0, 0.25, 3, 1_000_000_000_000]) histogram.record(value)
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) histogram.record(value)
      context.subject.histogram('test.duration_ms', { a: '1' }).record(2)
      context.subject.histogram('test.duration_ms', { a: '2' }).record(7)
      expect(await find(context, 'test.duration_ms', { a: '1' })).toMatchObject({
        count: 5,
        value: 1_000_000_000_005.25,
      })
      expect(await find(context, 'test.duration_ms', { a: '2' })).toMatchObject({ count: 1, value: 7 })
    },
  },
  {
    name: 'a gauge is read when someone looks, and is gone once disposed of',
    async run(context) {
      let value = 1
      let reads = 0
      const read = () => {
        reads++
        return value
      }
      const gauge = context.subject.gauge('test.gauge', read, { a: '1' })
      expect(reads).toBe(0)
      expect(await valueIn(context, 'test.gauge', { a: '1' })).toBe(1)
      value = -2.5
      expect(await valueIn(context, 'test.gauge', { a: '1' })).toBe(-2.5)
      gauge[Symbol.dispose]()
      gauge[Symbol.dispose]()
      const before = reads
      expect(await valueIn(context, 'test.gauge', { a: '1' })).toBeUndefined()
      expect(reads).toBe(before)
    },
  },
  {
    name: 'a newer gauge takes the place of an older one, whose disposal then removes nothing',
    async run(context) {
      const older = context.subject.gauge('test.replaced', () => 1)
      const newer = context.subject.gauge('test.replaced', () => 2)
      expect(await valueIn(context, 'test.replaced')).toBe(2)
      older[Symbol.dispose]()
      expect(await valueIn(context, 'test.replaced')).toBe(2)
      newer[Symbol.dispose]()
      expect(await valueIn(context, 'test.replaced')).toBeUndefined()
      context.subject.gauge('test.replaced', () => 3)
      expect(await valueIn(context, 'test.replaced')).toBe(3)
    },
  },
  {
    name: 'a gauge that throws or gives no number is left out, and hides no other',
    async run(context) {
      let broken = true
      context.subject.gauge('test.broken', () => {
        if (broken) throw new Error('boom')
        return 1
      })
      context.subject.gauge('test.nan', () => Number.NaN)
      context.subject.gauge('test.sound', () => 5, { a: '1' })
      context.subject.gauge('test.sound', () => 6, { a: '2' })
      expect(await valueIn(context, 'test.broken')).toBeUndefined()
      expect(await valueIn(context, 'test.nan')).toBeUndefined()
      expect(await valueIn(context, 'test.sound', { a: '1' })).toBe(5)
      expect(await valueIn(context, 'test.sound', { a: '2' })).toBe(6)
      broken = false
      expect(await valueIn(context, 'test.broken')).toBe(1)
    },
  },
  {
    name: 'series are bounded, and nothing that is added gets lost above the bound',
    async run(context) {
      for (let i = 0; i < 20_000; i++) context.subject.counter('test.flood', { id: String(i) }).add(1)
      const series = (await context.collect()).filter((one) => one.name === 'test.flood')
      expect(series.length).toBeLessThanOrEqual(10_000)
      expect(series.reduce((sum, one) => sum + one.value, 0)).toBe(20_000)
    },
  },
]

import { metricsContract } from 'ratatoskr/contract-tests'
import { expect, it } from 'vitest'
import { memoryMetrics } from './index.ts'

metricsContract('memory metrics', async () => {
  const subject = memoryMetrics()
  return {
    subject,
    collect: async () =>
      subject.snapshot().map((sample) => ({
        name: sample.name,
        labels: sample.labels,
        value: sample.kind === 'histogram' ? sample.sum : sample.value,
        count: sample.kind === 'histogram' ? sample.count : undefined,
      })),
    teardown: async () => {},
  }
})

it('gives every series by name, with its kind', () => {
  const metrics = memoryMetrics()
  metrics.gauge('c', () => 3)
  metrics.counter('b', { topic: 'x' }).add(2)
  metrics.histogram('a').record(1)
  expect(metrics.snapshot()).toMatchObject([
    { kind: 'histogram', name: 'a', labels: {} },
    { kind: 'counter', name: 'b', labels: { topic: 'x' }, value: 2 },
    { kind: 'gauge', name: 'c', value: 3 },
  ])
})

it('puts values into buckets whose upper bounds belong to them', () => {
  const metrics = memoryMetrics({ bucketBounds: [1, 10] })
  const histogram = metrics.histogram('h')
  expect(metrics.snapshot()).toMatchObject([{ count: 0, min: 0, max: 0 }])
  for (const value of [-5, 1, 1.5, 10, 11]) histogram.record(value)
  expect(metrics.snapshot()).toEqual([
    {
      kind: 'histogram',
      name: 'h',
      labels: {},
      count: 5,
      sum: 18.5,
      min: -5,
      max: 11,
      buckets: [
        { upTo: 1, count: 2 },
        { upTo: 10, count: 2 },
        { upTo: Number.POSITIVE_INFINITY, count: 1 },
      ],
    },
  ])
})

it('has bounds from a hundredth to a hundred million by default', () => {
  const metrics = memoryMetrics()
  metrics.histogram('h').record(1)
  const [sample] = metrics.snapshot()
  const bounds = sample.kind === 'histogram' ? sample.buckets.map((bucket) => bucket.upTo) : []
  expect(bounds.slice(0, 4)).toEqual([0.01, 0.025, 0.05, 0.1])
  expect(bounds.slice(-2)).toEqual([1e8, Number.POSITIVE_INFINITY])
  expect(bounds).toEqual([...bounds].sort((a, b) => a - b))
})

it('leaves gauges out that come above the bound', () => {
  const metrics = memoryMetrics({ seriesPerNameMax: 2 })
  for (const id of ['1', '2', '3']) metrics.gauge('g', () => 1, { id })
  expect(metrics.snapshot().map((sample) => sample.labels.id)).toEqual(['1', '2'])
})

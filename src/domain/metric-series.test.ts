import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assertMetricSeries, metricLabelsKey } from './metric-series.ts'

describe('names of series', () => {
  it.each(['a', 'ratatoskr.publish.duration_ms', 'a1.b_2'])('%s is one', (name) => {
    expect(() => assertMetricSeries(name, { topic: 'Any value\n' })).not.toThrow()
  })

  it.each(['', 'A', 'a.', '.a', 'a..b', '1a', 'a-b', 'a b', 'a\n', `a${'b'.repeat(200)}`, undefined])(
    '%j is none',
    (name) => {
      expect(() => assertMetricSeries(name as string)).toThrow(TypeError)
    },
  )

  it.each<Record<string, unknown>>([
    { Topic: 'a' },
    { 'a.b': 'a' },
    { '': 'a' },
    { topic: 1 },
    Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`l${i}`, 'x'])),
  ])('labels %j are refused', (labels) => {
    expect(() => assertMetricSeries('a', labels as Record<string, string>)).toThrow(TypeError)
  })
})

describe('the key of labels', () => {
  const labels = fc.dictionary(fc.string(), fc.string(), { maxKeys: 4, noNullPrototype: true })

  it('ignores their order', () => {
    fc.assert(
      fc.property(labels, (some) => {
        expect(metricLabelsKey(Object.fromEntries(Object.entries(some).reverse()))).toBe(
          metricLabelsKey(some),
        )
      }),
    )
    expect(metricLabelsKey(undefined)).toBe(metricLabelsKey({}))
  })

  it('tells all others apart', () => {
    fc.assert(
      fc.property(labels, labels, (one, other) => {
        const equal =
          Object.keys(one).length === Object.keys(other).length &&
          Object.entries(one).every(([name, value]) => Object.hasOwn(other, name) && other[name] === value)
        expect(metricLabelsKey(one) === metricLabelsKey(other)).toBe(equal)
      }),
    )
  })
})

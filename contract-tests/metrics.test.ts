import type { MetricLabels, Metrics } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { type MemoryMetrics, memoryMetrics } from '../adapters/memory-metrics/index.ts'
import { type MetricsContext, metricsCases } from './metrics.ts'
import { failuresOf } from './suite.ts'

/** The in-memory metrics with one method broken. */
const broken = (mutate: (sound: MemoryMetrics) => Partial<Metrics>) => async (): Promise<MetricsContext> => {
  const sound = memoryMetrics()
  return {
    subject: { ...sound, ...mutate(sound) },
    collect: async () =>
      sound.snapshot().map((sample) => ({
        name: sample.name,
        labels: sample.labels,
        value: sample.kind === 'histogram' ? sample.sum : sample.value,
        count: sample.kind === 'histogram' ? sample.count : undefined,
      })),
    teardown: async () => {},
  }
}

const first = (labels: MetricLabels = {}): MetricLabels =>
  Object.fromEntries(Object.entries(labels).slice(0, 1))

describe('the metrics contract', () => {
  it('passes what is sound', async () => {
    expect(
      await failuresOf(
        metricsCases,
        broken(() => ({})),
      ),
    ).toEqual([])
  })

  it.each<[string, (sound: MemoryMetrics) => Partial<Metrics>]>([
    [
      'counts one whatever is added',
      (sound) => ({
        counter: (name, labels) => ({ add: () => sound.counter(name, labels).add(1) }),
      }),
    ],
    [
      'counts the second of two equal series elsewhere',
      (sound) => {
        let made = 0
        return { counter: (name, labels) => sound.counter(made++ % 2 === 1 ? `${name}.again` : name, labels) }
      },
    ],
    [
      'forgets labels but the first',
      (sound) => ({ counter: (name, labels) => sound.counter(name, first(labels)) }),
    ],
    [
      'throws at what is no number',
      (sound) => ({
        counter: (name, labels) => ({
          add: (n) => {
            if (!(n >= 0)) throw new RangeError('n')
            sound.counter(name, labels).add(n)
          },
        }),
      }),
    ],
    [
      'looks at the labels later',
      (sound) => ({
        counter: (name, labels) => ({ add: (n) => sound.counter(name, labels).add(n) }),
      }),
    ],
    ['records nothing', () => ({ histogram: () => ({ record: () => undefined }) })],
    [
      'reads gauges when they are made',
      (sound) => ({
        gauge: (name, read, labels) => {
          const value = read()
          return sound.gauge(name, () => value, labels)
        },
      }),
    ],
    [
      'keeps gauges that were disposed of',
      (sound) => ({
        gauge: (name, read, labels) => {
          sound.gauge(name, read, labels)
          return { [Symbol.dispose]: () => undefined }
        },
      }),
    ],
    [
      'removes the newer gauge with the older',
      (sound) => ({
        gauge: (name, read, labels) => {
          sound.gauge(name, read, labels)
          return { [Symbol.dispose]: () => sound.gauge(name, () => Number.NaN, labels)[Symbol.dispose]() }
        },
      }),
    ],
    [
      'drops what is above its bound',
      (sound) => {
        let made = 0
        return {
          counter: (name, labels) =>
            made++ < 1_000 ? sound.counter(name, labels) : { add: () => undefined },
        }
      },
    ],
  ])('catches one that %s', async (_, mutate) => {
    expect(await failuresOf(metricsCases, broken(mutate))).not.toEqual([])
  })
})

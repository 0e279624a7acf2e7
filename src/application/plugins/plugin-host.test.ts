import { describe, expect, it } from 'vitest'
import { memoryMetrics } from '../../../adapters/memory-metrics/index.ts'
import { guardEvents, observerEvents } from '../../../contract-tests/plugin-events.ts'
import { type LogLine, type TestPlatform, testPlatform } from '../../../contract-tests/test-platform.ts'
import {
  type BackgroundQueue,
  type BrokerStats,
  type Health,
  metricLabelsKey,
  type Plugin,
  type PluginContext,
  RatatoskrError,
} from '../../ports/index.ts'
import { PluginHost } from './index.ts'

const published = observerEvents.messagePublished
const stats = { topics: 1 } as BrokerStats
const health: Health = { status: 'ok', ready: true, uptimeMs: 5, components: [] }

interface Bench {
  readonly host: PluginHost
  readonly clock: TestPlatform['clock']
  readonly lines: readonly LogLine[]
  logged(message: string): readonly LogLine[]
  /** A counter's or gauge's value now. */
  measured(name: string, labels?: Readonly<Record<string, string>>): number | undefined
}

function benchOf(...plugins: Plugin[]): Bench {
  const platform = testPlatform()
  const metrics = memoryMetrics()
  return {
    host: new PluginHost({ plugins, platform, metrics, stats: () => stats, health: () => health }),
    clock: platform.clock,
    lines: platform.lines,
    logged: (message) => platform.lines.filter((line) => line.message === message),
    measured: (name, labels = {}) => {
      const key = metricLabelsKey(labels)
      const found = metrics.snapshot().find((one) => one.name === name && metricLabelsKey(one.labels) === key)
      return found?.kind === 'histogram' ? found.sum : found?.value
    },
  }
}

const plugin = (
  name: string,
  setup: (context: PluginContext) => void = () => undefined,
  rest: Partial<Plugin> = {},
): Plugin => ({ name, setup, ...rest })

const never = () => new Promise<void>(() => {})
const code = (code: string) => expect.objectContaining({ code })

/** A plugin that writes down when it is set up and closed. */
const traced = (name: string, trace: string[], rest: Partial<Plugin> = {}): Plugin =>
  plugin(name, () => void trace.push(`+${name}`), { close: () => void trace.push(`-${name}`), ...rest })

describe('the list of plugins', () => {
  it.each<[string, readonly unknown[]]>([
    ['a name twice', [plugin('a'), plugin('b'), plugin('a')]],
    ['a requirement that is missing', [plugin('a', undefined, { requires: ['b'] })]],
    ['a requirement that stands later', [plugin('a', undefined, { requires: ['b'] }), plugin('b')]],
    ['one that requires itself', [plugin('a', undefined, { requires: ['a'] })]],
    ['an empty name', [plugin('')]],
    ['a name with a line feed', [plugin('a\nb')]],
    ['no name', [{ setup: () => undefined }]],
    ['no setup', [{ name: 'a' }]],
    ['something else', [null]],
    ['a function', [() => undefined]],
  ])('with %s is refused before anything is set up', (_, plugins) => {
    expect(() => benchOf(...(plugins as Plugin[]))).toThrow(code('RTK_PLUGIN_INVALID'))
  })

  it('says which way to mend a requirement', () => {
    const needs = plugin('a', undefined, { requires: ['b'] })
    expect(() => benchOf(needs)).toThrow(/add it to the list/)
    expect(() => benchOf(needs, plugin('b'))).toThrow(/move it before/)
    expect(() => benchOf(plugin('b'), needs)).not.toThrow()
  })
})

describe('start and stop', () => {
  it('set up one by one in order and close in reverse, each once, and again after a stop', async () => {
    const trace: string[] = []
    const slow = traced('slow', trace, {
      setup: async () => {
        trace.push('slow…')
        await new Promise((resolve) => setImmediate(resolve))
        trace.push('+slow')
      },
    })
    const { host } = benchOf(traced('a', trace), slow, traced('c', trace))
    await Promise.all([host.start(), host.start()])
    expect(host.running).toEqual(['a', 'slow', 'c'])
    await Promise.all([host.stop(), host.stop()])
    expect(trace).toEqual(['+a', 'slow…', '+slow', '+c', '-c', '-slow', '-a'])
    expect(host.running).toEqual([])
    trace.length = 0
    await host.start()
    await host.stop()
    expect(trace).toEqual(['+a', 'slow…', '+slow', '+c', '-c', '-slow', '-a'])
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('no database')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no database'))],
  ])('fail when a setup %s, closing in reverse what was set up', async (_, fail) => {
    const trace: string[] = []
    const bad = traced('bad', trace, {
      setup: (context) => {
        context.on('messagePublished', () => undefined)
        context.clock.after(10, () => trace.push('timer'))
        context.backgroundQueue({ name: 'q', itemsMax: 1, handle: never }).offer(1)
        return fail()
      },
    })
    const bench = benchOf(traced('a', trace), traced('b', trace), bad, traced('d', trace))
    const starting = bench.host.start()
    const failed = expect(starting).rejects.toEqual(
      expect.objectContaining({
        code: 'RTK_PLUGIN_INVALID',
        message: 'plugin "bad" could not be set up: no database',
        cause: new Error('no database'),
      }),
    )
    await bench.clock.advance(0)
    await failed
    expect(trace).toEqual(['+a', '+b', '-b', '-a'])
    expect(bench.host.observes('messagePublished')).toBe(false)
    await bench.clock.advance(20)
    expect(trace).not.toContain('timer')
    expect(bench.measured('ratatoskr.plugin.queue.items', { plugin: 'bad', queue: 'q' })).toBeUndefined()
  })

  it('pass on the code of a setup that knows one', async () => {
    const error = new RatatoskrError('RTK_CONFIG_INVALID', 'file must be a path')
    const { host } = benchOf(
      ...[
        plugin('a', () => {
          throw error
        }),
      ],
    )
    await expect(host.start()).rejects.toBe(error)
  })

  it('give a plugin that hangs or throws at close up, and close the others', async () => {
    const trace: string[] = []
    const bench = benchOf(
      ...[
        traced('a', trace),
        traced('hangs', trace, { close: never }),
        traced('throws', trace, {
          close: () => {
            throw new Error('sync')
          },
        }),
        traced('rejects', trace, { close: () => Promise.reject(new Error('late')) }),
        plugin('no-close'),
      ],
    )
    await bench.host.start()
    const stopping = bench.host.stop()
    await bench.clock.advance(2_500)
    await stopping
    expect(trace.at(-1)).toBe('-a')
    expect(bench.logged('plugin failed to close')).toMatchObject([
      { plugin: 'rejects', error: new Error('late') },
      { plugin: 'throws', error: new Error('sync') },
      { plugin: 'hangs', error: { code: 'RTK_TIMEOUT' } },
    ])
    expect(bench.clock.pending).toBe(0)
  })

  it('drain the queues before close, and drop the rest of one that stalls', async () => {
    const trace: string[] = []
    const bench = benchOf(
      ...[
        plugin(
          'slow',
          (context) => {
            const queue = context.backgroundQueue<string>({
              name: 'work',
              itemsMax: 10,
              handle: async (items) => {
                await new Promise<void>((resolve) => bench.clock.after(100, resolve))
                trace.push(...items)
              },
            })
            context.on('messagePublished', (event) => void queue.offer(event.topic) as undefined)
          },
          { close: () => void trace.push('slow closed') },
        ),
        plugin(
          'stalled',
          (context) => {
            const queue = context.backgroundQueue({ name: 'work', itemsMax: 10, batchMax: 1, handle: never })
            context.on('messagePublished', (event) => void queue.offer(event) as undefined)
          },
          { close: () => void trace.push('stalled closed') },
        ),
      ],
    )
    await bench.host.start()
    for (let i = 0; i < 4; i++) bench.host.emit('messagePublished', published)
    const stopping = bench.host.stop()
    await bench.clock.advance(2_500)
    await stopping
    expect(trace).toEqual(['orders', 'orders', 'orders', 'orders', 'stalled closed', 'slow closed'])
    expect(bench.logged('plugin queues did not drain in time')).toMatchObject([
      { plugin: 'stalled', dropped: 3 },
    ])
  })
})

describe('the context', () => {
  it('gives stats, health, randomness and the time', async () => {
    const contexts: PluginContext[] = []
    const bench = benchOf(plugin('a', (context) => void contexts.push(context)))
    await bench.host.start()
    const [context] = contexts
    expect(context.stats()).toBe(stats)
    expect(context.health()).toBe(health)
    expect(context.random.uuid()).toMatch(/^[0-9a-f-]{36}$/)
    expect(context.clock.now()).toBe(bench.clock.now())
    expect(context.clock.monotonic()).toBe(bench.clock.monotonic())
    context.metrics.counter('mine').add(2)
    context.metrics.histogram('mine.duration_ms').record(1)
    expect(() => context.metrics.counter('Mine')).toThrow(TypeError)
    expect(bench.measured('mine')).toBe(2)
  })

  it('contains what timers throw, and cancels those that were disposed of', async () => {
    const ran: string[] = []
    const bench = benchOf(
      ...[
        plugin('a', ({ clock }) => {
          clock.after(10, () => {
            ran.push('bad')
            throw new Error('boom')
          })
          clock.after(10, () => ran.push('good'))
          clock.after(10, () => ran.push('cancelled'))[Symbol.dispose]()
        }),
      ],
    )
    await bench.host.start()
    await bench.clock.advance(10)
    expect(ran).toEqual(['bad', 'good'])
    expect(bench.logged('plugin timer failed')).toMatchObject([{ plugin: 'a', error: new Error('boom') }])
  })

  it('shows a queue in the metrics, and refuses a second one of its name or one without', async () => {
    const queues: BackgroundQueue<number>[] = []
    const bench = benchOf(
      ...[
        plugin('a', (context) => {
          const make = (name: string) =>
            context.backgroundQueue<number>({
              name,
              itemsMax: 2,
              batchMax: 1,
              handle: () => Promise.reject(new Error('no')),
            })
          queues.push(make('work'))
          expect(() => make('work')).toThrow(TypeError)
          expect(() => make('')).toThrow(TypeError)
        }),
      ],
    )
    await bench.host.start()
    for (let i = 0; i < 5; i++) queues[0].offer(i)
    expect(bench.measured('ratatoskr.plugin.queue.items', { plugin: 'a', queue: 'work' })).toBe(2)
    expect(bench.measured('ratatoskr.plugin.queue.dropped.items', { plugin: 'a', queue: 'work' })).toBe(3)
    expect(bench.logged('plugin queue is full: items were dropped')).toHaveLength(1)
    await queues[0].drained()
    expect(bench.measured('ratatoskr.plugin.queue.failures', { plugin: 'a', queue: 'work' })).toBe(2)
  })

  it('is of no use once the plugin was closed', async () => {
    const contexts: PluginContext[] = []
    const bench = benchOf(plugin('a', (context) => void contexts.push(context)))
    await bench.host.start()
    const [context] = contexts
    const gauge = context.metrics.gauge('mine', () => 1)
    context.clock.after(10, () => expect.fail('ran after the end'))
    await bench.host.stop()
    expect(bench.measured('mine')).toBeUndefined()
    gauge[Symbol.dispose]()
    await bench.clock.advance(10)
    const closed = code('RTK_CLOSED')
    expect(() => context.on('denied', () => undefined)).toThrow(closed)
    expect(() => context.before('connect', () => undefined)).toThrow(closed)
    expect(() => context.backgroundQueue({ name: 'q', itemsMax: 1, handle: never })).toThrow(closed)
    expect(() => context.clock.after(1, () => undefined)).toThrow(closed)
    expect(() => context.metrics.gauge('late', () => 1)).toThrow(closed)
  })
})

describe('unloading at run time', () => {
  it('unhooks at once, drains, closes, and leaves the others alone', async () => {
    const seen: string[] = []
    const watch = (name: string): Plugin =>
      plugin(
        name,
        (context) => {
          const queue = context.backgroundQueue<number>({
            name: 'work',
            itemsMax: 10,
            handle: async (items) => void seen.push(`${name} handled ${items.length}`),
          })
          context.on('messagePublished', () => void queue.offer(1) as undefined)
          context.before('publish', () => {
            if (name === 'a') throw new Error('refused')
          })
        },
        { close: () => void seen.push(`${name} closed`) },
      )
    const { host } = benchOf(watch('a'), watch('b'))
    await host.start()
    host.emit('messagePublished', published)
    const removed = host.remove('a')
    host.emit('messagePublished', published)
    host.check('publish', guardEvents.publish)
    await removed
    expect(seen).toEqual(['a handled 1', 'b handled 2', 'a closed'])
    expect(host.running).toEqual(['b'])
    await host.stop()
    await host.start()
    expect(host.running).toEqual(['b'])
  })

  it('refuses what is not there or is required by another', async () => {
    const { host } = benchOf(plugin('a'), plugin('b', undefined, { requires: ['a'] }))
    await host.start()
    const invalid = code('RTK_PLUGIN_INVALID')
    await expect(host.remove('c')).rejects.toEqual(invalid)
    await expect(host.remove('a')).rejects.toEqual(invalid)
    await host.remove('b')
    await host.remove('a')
    await expect(host.remove('a')).rejects.toEqual(invalid)
    expect(host.running).toEqual([])
  })

  it('works before the start, too', async () => {
    const { host } = benchOf(plugin('a'), plugin('b'))
    await host.remove('a')
    await host.start()
    expect(host.running).toEqual(['b'])
  })
})

describe('plugins that misbehave', () => {
  const observed = [
    'messagePublished',
    'messageDelivered',
    'topicCreated',
    'publishFailed',
    'connected',
  ] as const
  const throwing = plugin('throws', (context) => {
    for (const name of observed) {
      context.on(name, () => {
        throw new Error('boom')
      })
    }
  })
  const stalling = plugin('stalls', (context) => {
    const queue = context.backgroundQueue({ name: 'work', itemsMax: 5, handle: never })
    for (const name of observed) context.on(name, (event) => void queue.offer(event) as undefined)
  })
  const flooding = plugin('floods', (context) => {
    const queue = context.backgroundQueue<number>({
      name: 'work',
      itemsMax: 50,
      handle: async (items) => {
        for (let i = 0; i < items.length * 2; i++) queue.offer(i)
      },
    })
    context.on('messagePublished', () => {
      for (let i = 0; i < 1_000; i++) queue.offer(i)
    })
  })

  it('neither fail an event nor take anything from the one that behaves', async () => {
    const counted: number[] = []
    const good = plugin('good', (context) => {
      const queue = context.backgroundQueue<number>({
        name: 'work',
        itemsMax: 10_000,
        handle: async (items) => void counted.push(...items),
      })
      context.on('messagePublished', (event) => void queue.offer(event.baseOffset) as undefined)
    })
    const bench = benchOf(throwing, stalling, flooding, good)
    await bench.host.start()
    for (let baseOffset = 0; baseOffset < 500; baseOffset++) {
      bench.host.emit('messagePublished', { ...published, baseOffset })
    }
    await bench.clock.advance(10)
    expect(counted).toEqual(Array.from({ length: 500 }, (_, i) => i))
    expect(bench.measured('ratatoskr.plugin.queue.dropped.items', { plugin: 'stalls', queue: 'work' })).toBe(
      495,
    )
    expect(
      bench.measured('ratatoskr.plugin.queue.items', { plugin: 'floods', queue: 'work' }),
    ).toBeLessThanOrEqual(50)
    expect(bench.lines.length).toBeLessThan(20)
    const stopping = bench.host.stop()
    await bench.clock.advance(2_500)
    await stopping
    expect(bench.clock.pending).toBe(0)
  })
})

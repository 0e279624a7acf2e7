import { describe, expect, it } from 'vitest'
import { memoryMetrics } from '../../../adapters/memory-metrics/index.ts'
import { guardEvents, observerEvents } from '../../../contract-tests/plugin-events.ts'
import { testPlatform } from '../../../contract-tests/test-platform.ts'
import {
  type MessagePublishedEvent,
  type Plugin,
  type PluginContext,
  RatatoskrError,
} from '../../ports/index.ts'
import { PluginHost } from './index.ts'

const published = observerEvents.messagePublished
const beforePublish = guardEvents.publish
const unhooked = 'plugin observer was unhooked: it failed too often in a row'

async function started(...plugins: Plugin[]) {
  const platform = testPlatform()
  const metrics = memoryMetrics()
  const unused = () => expect.fail('no plugin of these tests asks')
  const host = new PluginHost({ plugins, platform, metrics, stats: unused, health: unused })
  await host.start()
  return {
    host,
    clock: platform.clock,
    logged: (message: string) => platform.lines.filter((line) => line.message === message),
    counted: (name: string) => metrics.snapshot().filter((sample) => sample.name === name),
  }
}

const plugin = (name: string, setup: (context: PluginContext) => void): Plugin => ({ name, setup })

/** An observer as someone writes it who has no types: it may return anything. */
const untyped = (run: (event: unknown) => unknown) => run as (event: unknown) => undefined

describe('observers', () => {
  it('are asked for before an event is made, and are not there until someone registers', async () => {
    let late: (() => Disposable) | undefined
    const { host } = await started(
      plugin('a', (context) => {
        late = () => context.on('messagePublished', () => undefined)
      }),
    )
    expect(host.observes('messagePublished')).toBe(false)
    const hook = late?.()
    expect(host.observes('messagePublished')).toBe(true)
    expect(host.observes('messageAcked')).toBe(false)
    hook?.[Symbol.dispose]()
    hook?.[Symbol.dispose]()
    expect(host.observes('messagePublished')).toBe(false)
  })

  it('see the same event, in list order, whenever they registered', async () => {
    const seen: [string, MessagePublishedEvent][] = []
    const later: (() => void)[] = []
    const watch = (name: string, delayed = false): Plugin =>
      plugin(name, (context) => {
        const register = () =>
          void context.on('messagePublished', (event) => {
            seen.push([name, event])
          })
        if (delayed) later.push(register)
        else register()
      })
    const { host } = await started(watch('a', true), watch('b'), watch('c', true), watch('d'))
    for (const register of later.reverse()) register()
    host.emit('messagePublished', published)
    expect(seen.map(([name]) => name)).toEqual(['a', 'b', 'c', 'd'])
    expect(seen.every(([, event]) => event === published)).toBe(true)
  })

  it('that throw are counted and logged, and the others are told all the same', async () => {
    let told = 0
    const bench = await started(
      plugin('bad', (context) => {
        context.on('topicCreated', () => {
          throw new Error('boom')
        })
      }),
      plugin('good', (context) => {
        context.on('topicCreated', () => {
          told++
        })
      }),
    )
    bench.host.emit('topicCreated', observerEvents.topicCreated)
    expect(told).toBe(1)
    expect(bench.counted('ratatoskr.plugin.observer.failures')).toMatchObject([
      { labels: { plugin: 'bad', hook: 'topicCreated' }, value: 1 },
    ])
    expect(bench.logged('plugin observer failed')).toMatchObject([
      { level: 'warn', plugin: 'bad', hook: 'topicCreated', error: new Error('boom') },
    ])
  })

  it('are unhooked after ten failures in a row, and only then', async () => {
    let calls = 0
    let fails = true
    const bench = await started(
      plugin('bad', (context) => {
        context.on('messagePublished', () => {
          calls++
          if (fails) throw new Error('boom')
        })
      }),
    )
    const emit = (times: number) => {
      for (let i = 0; i < times; i++) bench.host.emit('messagePublished', published)
    }
    emit(9)
    fails = false
    emit(1)
    fails = true
    emit(9)
    expect(bench.host.observes('messagePublished')).toBe(true)
    emit(1)
    expect(bench.host.observes('messagePublished')).toBe(false)
    emit(5)
    expect(calls).toBe(20)
    expect(bench.logged(unhooked)).toMatchObject([{ level: 'error', plugin: 'bad', failures: 10 }])
    expect(bench.counted('ratatoskr.plugin.observer.failures')).toMatchObject([{ value: 19 }])
  })

  it('that fail at the rate of messages fill no log', async () => {
    let calls = 0
    const bench = await started(
      plugin('bad', (context) => {
        context.on('messagePublished', () => {
          if (calls++ % 2 === 0) throw new Error('boom')
        })
      }),
    )
    for (let i = 0; i < 1_000; i++) bench.host.emit('messagePublished', published)
    expect(bench.logged('plugin observer failed')).toHaveLength(1)
    await bench.clock.advance(1_000)
    bench.host.emit('messagePublished', published)
    expect(bench.logged('plugin observer failed')[1]).toMatchObject({ unlogged: 499 })
  })

  it('that return promises against their type are contained too, and unhooked when those reject', async () => {
    let fulfilled = 0
    const bench = await started(
      plugin('async', (context) => {
        context.on(
          'messagePublished',
          untyped(async () => {
            throw new Error('late')
          }),
        )
        context.on(
          'topicCreated',
          untyped(async () => {
            fulfilled++
          }),
        )
        context.on(
          'connected',
          untyped(() => 7),
        )
      }),
    )
    for (let i = 0; i < 12; i++) bench.host.emit('messagePublished', published)
    bench.host.emit('topicCreated', observerEvents.topicCreated)
    bench.host.emit('connected', observerEvents.connected)
    await settled()
    expect(bench.logged(unhooked)).toHaveLength(1)
    expect(bench.host.observes('messagePublished')).toBe(false)
    expect([fulfilled, bench.host.observes('topicCreated'), bench.host.observes('connected')]).toEqual([
      1,
      true,
      true,
    ])
  })

  it('that are unhooked by an earlier one are passed over at once', async () => {
    const calls: string[] = []
    let second: Disposable | undefined
    const { host } = await started(
      plugin('a', (context) => {
        context.on('messagePublished', () => {
          calls.push('first')
          second?.[Symbol.dispose]()
        })
        second = context.on('messagePublished', () => {
          calls.push('second')
        })
      }),
    )
    host.emit('messagePublished', published)
    expect(calls).toEqual(['first'])
  })

  it('of a name that does not exist, or that are no functions, are refused when they register', async () => {
    const wrong: unknown[] = []
    await started(
      plugin('js', (context) => {
        const attempt = (run: () => unknown) => {
          try {
            run()
          } catch (error) {
            wrong.push(error)
          }
        }
        attempt(() => context.on('published' as 'messagePublished', () => undefined))
        attempt(() => context.on('toString' as 'messagePublished', () => undefined))
        attempt(() => context.before('publish', undefined as unknown as () => undefined))
      }),
    )
    expect(wrong).toHaveLength(3)
    expect(wrong.every((error) => error instanceof TypeError)).toBe(true)
    expect(String(wrong[0])).toContain('messagePublished')
  })
})

describe('guards', () => {
  it('are asked in order, and the first refusal stands', async () => {
    const asked: string[] = []
    const refusal = new RatatoskrError('RTK_LIMIT_EXCEEDED', 'quota')
    const guard = (name: string, refuse: boolean): Plugin =>
      plugin(name, (context) => {
        context.before('publish', () => {
          asked.push(name)
          if (refuse) throw refusal
        })
      })
    const { host } = await started(guard('a', false), guard('b', true), guard('c', true))
    expect(host.guards('publish')).toBe(true)
    expect(host.guards('connect')).toBe(false)
    expect(() => host.check('publish', beforePublish)).toThrow(refusal)
    expect(asked).toEqual(['a', 'b'])
    expect(() => host.check('topicDelete', observerEvents.topicCreated)).not.toThrow()
  })

  it('fail closed with the cause, and stay however often they fail', async () => {
    const cause = new Error('database is away: password=hunter2')
    const bench = await started(
      plugin('quota', (context) => {
        context.before('publish', () => {
          throw cause
        })
      }),
    )
    for (let i = 0; i < 30; i++) {
      expect(() => bench.host.check('publish', beforePublish)).toThrow(
        expect.objectContaining({
          code: 'RTK_HOOK_ERROR',
          cause,
          message: expect.not.stringContaining('hunter2'),
        }),
      )
    }
    expect(bench.counted('ratatoskr.plugin.guard.failures')).toMatchObject([{ value: 30 }])
    expect(bench.logged('plugin guard failed')).toHaveLength(1)
  })

  it.each([
    ['a promise', async () => undefined],
    ['a promise that rejects', () => Promise.reject(new Error('no'))],
    ['false', () => false],
  ])('that return %s cannot have looked in time, and refuse', async (_, run) => {
    const { host } = await started(
      plugin('js', (context) => void context.before('topicCreate', untyped(run))),
    )
    expect(() => host.check('topicCreate', observerEvents.topicCreated)).toThrow(
      expect.objectContaining({ code: 'RTK_HOOK_ERROR' }),
    )
    await settled()
  })

  it('that were unhooked refuse nothing', async () => {
    let hook: Disposable | undefined
    const { host } = await started(
      plugin('a', (context) => {
        context.before('subscribe', () => void hook?.[Symbol.dispose]() as undefined)
        hook = context.before('subscribe', () => {
          throw new Error('not asked')
        })
      }),
    )
    expect(() => host.check('subscribe', guardEvents.subscribe)).not.toThrow()
  })
})

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

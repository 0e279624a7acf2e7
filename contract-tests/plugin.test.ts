import { type Plugin, type PluginContext, RatatoskrError } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { pluginCases, pluginContract } from './plugin.ts'
import { failuresOf } from './suite.ts'

const make = (setup: (context: PluginContext) => void, rest: Partial<Plugin> = {}): Plugin => ({
  name: 'sample',
  setup,
  ...rest,
})
const context = (subject: Plugin) => async () => ({ subject, teardown: async () => {} })

pluginContract(
  'a plugin that does a little of everything',
  context(
    make((broker) => {
      const seen: number[] = []
      const queue = broker.backgroundQueue<number>({
        name: 'work',
        itemsMax: 100,
        batchMax: 10,
        handle: async (items) => {
          seen.push(...items)
        },
      })
      broker.on('messagePublished', (event) => {
        queue.offer(event.baseOffset)
      })
      broker.before('topicDelete', () => {
        throw new RatatoskrError('RTK_PERMISSION_DENIED', 'topics stay')
      })
      broker.metrics.gauge('seen', () => seen.length + broker.stats().topics + broker.health().uptimeMs)
    }),
  ),
)

const untyped = (run: (event: never) => unknown) => run as (event: unknown) => undefined
let setups = 0

describe('the plugin contract catches', () => {
  it.each<[string, Plugin]>([
    ['a bad name', make(() => undefined, { name: 'not a name' })],
    ['one that requires itself', make(() => undefined, { requires: ['sample'] })],
    [
      'an observer that throws',
      make(
        (broker) =>
          void broker.on(
            'denied',
            untyped(() => {
              throw new Error('no')
            }),
          ),
      ),
    ],
    [
      'an observer that is async',
      make(
        (broker) =>
          void broker.on(
            'topicCreated',
            untyped(async () => undefined),
          ),
      ),
    ],
    [
      'an observer that rejects',
      make(
        (broker) =>
          void broker.on(
            'connected',
            untyped(async () => {
              throw new Error('no')
            }),
          ),
      ),
    ],
    [
      'a guard that throws a foreign error',
      make(
        (broker) =>
          void broker.before(
            'connect',
            untyped(() => {
              throw new Error('no')
            }),
          ),
      ),
    ],
    [
      'a guard that returns',
      make(
        (broker) =>
          void broker.before(
            'connect',
            untyped(() => false),
          ),
      ),
    ],
    [
      'one that changes the batch',
      make(
        (broker) =>
          void broker.on(
            'messagePublished',
            untyped((event: { batch: Uint8Array }) => {
              if (event.batch.length > 80) event.batch[80] ^= 1
            }),
          ),
      ),
    ],
    [
      'one that works in the hook',
      make(
        (broker) =>
          void broker.on(
            'messagePublished',
            untyped(() => {
              const until = performance.now() + 1
              while (performance.now() < until);
            }),
          ),
      ),
    ],
    [
      'a handler that fails',
      make((broker) => {
        const queue = broker.backgroundQueue<string>({
          name: 'q',
          itemsMax: 5,
          handle: () => Promise.reject(new Error('no')),
        })
        broker.on('topicDeleted', (event) => void queue.offer(event.topic) as undefined)
      }),
    ],
    [
      'one that takes a full queue for an error',
      make((broker) => {
        const queue = broker.backgroundQueue<string>({
          name: 'q',
          itemsMax: 50_000,
          handle: async () => undefined,
        })
        const full = broker.backgroundQueue<string>({
          name: 'full',
          itemsMax: 5,
          handle: async () => undefined,
        })
        broker.on('messagePublished', (event) => {
          queue.offer(event.topic)
          if (!full.offer(event.topic)) throw new Error('full')
        })
      }),
    ],
    ['a close that fails', make(() => undefined, { close: () => Promise.reject(new Error('no')) })],
    [
      'one that can be set up only once',
      {
        name: 'sample',
        setup: () => {
          if (setups++ % 2 === 1) throw new Error('again?')
        },
      },
    ],
  ])('%s', async (_, plugin) => {
    setups = 0
    const fresh = () => {
      setups = 0
      return context(plugin)()
    }
    expect(await failuresOf(pluginCases, fresh)).not.toEqual([])
  })
})

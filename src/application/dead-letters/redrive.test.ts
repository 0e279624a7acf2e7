import { describe, expect, it } from 'vitest'
import {
  BatchBuilder,
  portableCrc32c,
  RatatoskrError,
  type StateChange,
  utf8,
  utf8Text,
} from '../../ports/index.ts'
import { QueueSink } from '../queues/testing/queue-sink.ts'
import { codeOf } from '../testing/broker-bench.ts'
import { LetterBench } from './testing/letter-bench.ts'

const many = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`)

describe('listing dead letters', () => {
  it('shows each message as it was, with all that is known of it', async () => {
    const bench = await LetterBench.start()
    const { clock } = bench.queue.bench
    const publishedAtMs = clock.now() - 5_000
    const id = '00000000-0000-4000-8000-0000000000aa'
    await bench.bury(1, { id, key: utf8('k'), headers: [['h', utf8('v')]], timestampMs: publishedAtMs })
    const page = await bench.session.deadLetters('orders')
    expect(page).toEqual({ deadLetterTopic: 'orders.dlq', letters: [expect.anything()] })
    const [{ headers, payload, key, ...letter }] = page.letters
    expect([utf8Text(payload), utf8Text(key ?? utf8('')), headers]).toEqual(['m0', 'k', [['h', utf8('v')]]])
    expect(letter).toEqual({
      partition: 0,
      offset: 0,
      buriedAtMs: clock.now(),
      group: 'g',
      reason: 'retries',
      error: 'error 0 of g',
      attempts: 1,
      firstAtMs: clock.now(),
      lastAtMs: clock.now(),
      redrives: 0,
      source: { topic: 'orders', partition: 0, offset: 0 },
      id,
      timestampMs: publishedAtMs,
    })
  })

  it('goes page by page, by what the filter says', async () => {
    const bench = await LetterBench.start()
    await bench.bury(5)
    await bench.giveUp({ group: 'h' })
    const first = await bench.session.deadLetters('orders', { max: 3, group: 'h' })
    expect(first.letters.map(({ error }) => error)).toEqual(['error 0 of h', 'error 1 of h', 'error 2 of h'])
    const second = await bench.session.deadLetters('orders', { max: 3, group: 'h', after: first.next })
    expect(second.letters.map(({ error }) => error)).toEqual(['error 3 of h', 'error 4 of h'])
    expect(second.next).toBeUndefined()
    expect(await bench.errors({ match: '4 of' })).toEqual(['error 4 of g', 'error 4 of h'])
    expect(await bench.errors({ offsets: [1] })).toEqual(['error 1 of g'])
    expect(await bench.errors({ reason: 'expired' })).toEqual([])
    expect(await bench.errors({ sinceMs: bench.queue.bench.clock.now() + 1 })).toEqual([])
    expect(await bench.errors({ untilMs: bench.queue.bench.clock.now() })).toEqual([])
    expect(await bench.errors({ key: utf8('k') })).toEqual([])
    const [{ id }] = await bench.letters({ offsets: [2] })
    expect(await bench.errors({ ids: [id.toUpperCase()], group: 'g' })).toEqual(['error 2 of g'])
  })

  it('looks into the topic that the group names', async () => {
    const bench = await LetterBench.start()
    await bench.queue.publish(1)
    await bench.giveUp({ config: { deadLetterTopic: 'graveyard' } })
    expect(await bench.errors()).toEqual([])
    expect(await bench.errors({ group: 'g' })).toEqual(['error 0 of g'])
    expect(await bench.errors({ deadLetterTopic: 'graveyard' })).toEqual(['error 0 of g'])
    expect(await bench.letters({}, 'graveyard')).toEqual([]) // none of its own
  })

  it('refuses what makes no sense', async () => {
    const bench = await LetterBench.start()
    const wrong: object[] = [
      { max: 0 },
      { max: 1_001 },
      { after: -1 },
      { reason: 'bored' },
      { ids: ['x'] },
      { offsets: [-1] },
      { key: 'k' },
      { sinceMs: 1.5 },
      { match: 5 },
    ]
    for (const request of wrong) {
      expect(await codeOf(() => bench.session.deadLetters('orders', request))).toBe('RTK_INVALID_ARGUMENT')
    }
    for (const request of [{ rate: 0 }, { max: 10_001 }, { group: 5 as never }]) {
      expect(await codeOf(() => bench.session.redriveDeadLetters('orders', request))).toBe(
        'RTK_INVALID_ARGUMENT',
      )
    }
  })

  it('knows no letters of a topic that is not there, but those of one that was deleted', async () => {
    const bench = await LetterBench.start()
    const { session } = bench
    for (const call of [
      () => session.deadLetters('nowhere'),
      () => session.redriveDeadLetters('nowhere'),
      () => session.purgeDeadLetters('nowhere'),
      () =>
        session
          .deadLetters('orders', { deadLetterTopic: 'nowhere' })
          .then(() => session.deadLetters('nowhere.dlq')),
    ])
      expect(await codeOf(call)).toBe('RTK_TOPIC_NOT_FOUND')
    expect((await session.deadLetters('orders')).letters).toEqual([])
    await bench.bury(1)
    await session.deleteTopic('orders')
    expect((await session.deadLetters('orders')).letters).toHaveLength(1)
  })

  it('are not redriven to where they are', async () => {
    const bench = await LetterBench.start()
    await bench.bury(1)
    const refused = () => bench.session.redriveDeadLetters('orders', { target: 'orders.dlq' })
    expect(await codeOf(refused)).toBe('RTK_INVALID_ARGUMENT')
    expect(await bench.errors()).toHaveLength(1)
  })

  it('is for those who may read the topic and its dead letters', async () => {
    const bench = await LetterBench.start()
    await bench.bury(1)
    const { bench: broker } = bench.queue
    for (const hidden of ['orders', 'orders.dlq']) {
      broker.allows = (_action, resource) => resource.kind !== 'topic' || resource.name !== hidden
      const session = await broker.connect()
      expect(await codeOf(() => session.deadLetters('orders'))).toBe('RTK_PERMISSION_DENIED')
      expect(await codeOf(() => session.redriveDeadLetters('orders'))).toBe('RTK_PERMISSION_DENIED')
      expect(await codeOf(() => session.purgeDeadLetters('orders'))).toBe('RTK_PERMISSION_DENIED')
    }
    broker.allows = (action) => action !== 'topic:publish'
    const reader = await broker.connect()
    expect((await reader.deadLetters('orders')).letters).toHaveLength(1)
    expect(await codeOf(() => reader.redriveDeadLetters('orders'))).toBe('RTK_PERMISSION_DENIED')
    broker.allows = (_action, resource) => resource.kind !== 'topic' || resource.name !== 'secret'
    const other = await broker.connect()
    expect(await codeOf(() => other.redriveDeadLetters('orders', { target: 'secret' }))).toBe(
      'RTK_PERMISSION_DENIED',
    )
  })
})

describe('redriving dead letters', () => {
  it('publishes each once, as it was, and is done with it', async () => {
    const bench = await LetterBench.start()
    await bench.bury(2, { headers: [['h', utf8('v')]], ttlMs: 1_000_000 })
    const result = await bench.session.redriveDeadLetters('orders')
    expect(result).toEqual({ deadLetterTopic: 'orders.dlq', matched: 2, redriven: 2, refused: 0, skipped: 0 })
    const [before, , after] = await bench.messages()
    expect([after.id, utf8Text(after.payload), after.expiresAtMs]).toEqual([before.id, 'm0', undefined])
    expect(after.headers.map(([name, value]) => [name, utf8Text(value)])).toEqual([
      ['h', 'v'],
      ['rtk-redrives', '1'],
      ['rtk-redrive-group', 'g'],
      ['rtk-redrive-letter', expect.stringMatching(/:0$/)],
    ])
    expect(await bench.redriven()).toEqual(['m0', 'm1'])
    expect(await bench.letters()).toEqual([])
    expect(await bench.session.redriveDeadLetters('orders')).toMatchObject({ matched: 0, redriven: 0 })
    await bench.queue.restart()
    expect(await bench.letters()).toEqual([])
  })

  it('takes what the filter says, at most so many, and only counts in a dry run', async () => {
    const bench = await LetterBench.start()
    await bench.bury(4)
    await bench.giveUp({ group: 'h' })
    const request = { group: 'h', max: 2 }
    const dry = await bench.session.redriveDeadLetters('orders', { ...request, dryRun: true })
    expect(dry).toMatchObject({ matched: 2, redriven: 2, skipped: 4 })
    expect(await bench.redriven()).toEqual([])
    expect(await bench.session.redriveDeadLetters('orders', request)).toEqual(dry)
    expect(await bench.redriven()).toEqual(['m0', 'm1'])
    expect(await bench.errors()).toEqual([
      ...[0, 1, 2, 3].map((n) => `error ${n} of g`),
      ...[2, 3].map((n) => `error ${n} of h`),
    ])
  })

  it('goes to another topic when that is asked for, and not at all when there is none', async () => {
    const bench = await LetterBench.start()
    await bench.bury(1)
    expect(await codeOf(() => bench.session.redriveDeadLetters('orders', { target: 'other' }))).toBe(
      'RTK_TOPIC_NOT_FOUND',
    )
    expect(await bench.letters()).toHaveLength(1)
    await bench.session.createTopic('other')
    await bench.session.redriveDeadLetters('orders', { target: 'other' })
    expect(await bench.redriven('other')).toEqual(['m0'])
    expect(await codeOf(() => bench.session.redriveDeadLetters('orders', { target: '_scheduled' }))).toBe(
      'RTK_PERMISSION_DENIED',
    )
  })

  it('goes to the partition of the key, and without one to where the message was', async () => {
    const bench = await LetterBench.start({ partitions: 3 })
    await bench.bury(1, { partition: 2 })
    await bench.bury(1, { key: utf8('k') })
    const [{ partition }] = (await bench.letters()).slice(1).map(({ source }) => source)
    await bench.session.redriveDeadLetters('orders')
    expect(await bench.redriven('orders', 2)).toHaveLength(partition === 2 ? 2 : 1)
    expect(await bench.redriven('orders', partition)).toContain('m0')
  })

  it('refuses messages that were redriven three times already, unless it is forced', async () => {
    const bench = await LetterBench.start()
    await bench.bury(1)
    for (let redrives = 1; redrives <= 3; redrives++) {
      expect(await bench.session.redriveDeadLetters('orders')).toMatchObject({ redriven: 1, refused: 0 })
      await bench.giveUp()
      expect(await bench.letters()).toMatchObject([{ redrives }])
    }
    expect(await bench.session.redriveDeadLetters('orders')).toMatchObject({
      matched: 1,
      redriven: 0,
      refused: 1,
    })
    expect(await bench.letters()).toHaveLength(1)
    expect(await bench.session.redriveDeadLetters('orders', { force: true })).toMatchObject({ redriven: 1 })
  })

  it('keeps to a rate by the clock', async () => {
    const bench = await LetterBench.start()
    await bench.bury(5)
    let next: number | undefined = 0
    let done = false
    const run = async (): Promise<void> => {
      while (next !== undefined) {
        next = (await bench.session.redriveDeadLetters('orders', { rate: 2, after: next })).next
      }
      done = true
    }
    const running = run()
    for (const [ms, count] of [
      [0, 1],
      [499, 1],
      [1, 2],
      [500, 3],
      [1_000, 5],
    ]) {
      await bench.queue.pass(ms)
      await bench.queue.pass(0)
      expect(await bench.redriven()).toHaveLength(count)
    }
    await bench.queue.pass(500)
    await running
    expect(done).toBe(true)
  })

  it('ends when it is cancelled, and goes on when it is called again', async () => {
    const bench = await LetterBench.start()
    await bench.bury(3)
    const controller = new AbortController()
    const call = bench.session.redriveDeadLetters('orders', { rate: 1 }, { signal: controller.signal })
    const code = codeOf(() => call)
    await bench.queue.pass(0)
    controller.abort()
    expect(await code).toBe('RTK_CANCELLED')
    await bench.session.redriveDeadLetters('orders')
    expect(await bench.redriven()).toEqual(many(3))
  })

  it('goes on where a limited one has ended', async () => {
    const bench = await LetterBench.start()
    await bench.bury(900)
    expect(await bench.session.redriveDeadLetters('orders', { max: 700 })).toMatchObject({ redriven: 700 })
    expect(await bench.session.redriveDeadLetters('orders', { max: 700 })).toMatchObject({ redriven: 200 })
    expect(await bench.redriven()).toEqual(many(900))
  })
})

describe('whom a redrive is for', () => {
  const sharings = ['shared', 'keyShared', 'partitioned'] as const

  /** Three letters of `g`; `g` and `other` have handled everything else. */
  async function givenUp(sharing: (typeof sharings)[number], autoAck = false) {
    const bench = await LetterBench.start()
    await bench.session.createQueue('orders', 'g', { sharing, retriesMax: 0 })
    await bench.session.createQueue('orders', 'other', { sharing })
    await bench.queue.publish(3, { key: utf8('k') })
    for (let round = 0; round < 3; round++) await bench.giveUp({ config: { sharing } }) // one of a key fails at a time
    const credit = { messages: 100 }
    const join = (group: string) => bench.queue.join({ group, autoAck, credit })
    const other = await join('other')
    if (!autoAck) await other.ack(0)
    return { bench, other, join }
  }

  it.each([...sharings.map((sharing) => [sharing, false] as const), ['shared', true] as const])(
    'is the group that had given the messages up, in a %s group (autoAck %s)',
    async (sharing, autoAck) => {
      const { bench, other, join } = await givenUp(sharing, autoAck)
      expect(await bench.letters()).toHaveLength(3)
      await bench.session.redriveDeadLetters('orders')
      await bench.queue.publish(1, { key: utf8('k') })
      await bench.queue.pass(200)
      expect(other.offsets).toEqual([0, 1, 2, 6])
      expect(await bench.session.describeQueue('orders', 'other')).toMatchObject({ lag: autoAck ? 0 : 1 })
      const failed = await join('g')
      await bench.queue.pass(200)
      expect(failed.offsets).toEqual([3, 4, 5, 6])
      expect(await bench.redriven()).toEqual(many(3)) // streams see them
    },
  )

  it('is the group also after a restart, and when another one begins with the first message', async () => {
    const { bench, other: gone } = await givenUp('partitioned')
    await gone.subscription.close()
    await bench.session.redriveDeadLetters('orders')
    await bench.queue.restart()
    const fresh = await bench.queue.join({ group: 'fresh', credit: { messages: 100 } })
    await bench.queue.pass(0)
    expect(fresh.offsets).toEqual([0, 1, 2])
    expect(await bench.session.describeQueue('orders', 'other')).toMatchObject({ lag: 3 }) // it has not looked at them yet
    const other = await bench.queue.join({ group: 'other', credit: { messages: 100 } })
    await bench.queue.pass(0)
    expect(other.offsets).toEqual([])
    expect(await bench.session.describeQueue('orders', 'other')).toMatchObject({ lag: 0 })
  })

  it('is the group when the message fails again', async () => {
    const { bench, other } = await givenUp('shared')
    await bench.session.redriveDeadLetters('orders')
    await bench.giveUp()
    expect(await bench.letters({ group: 'g' })).toHaveLength(3)
    await bench.session.redriveDeadLetters('orders')
    await bench.queue.pass(0)
    expect(other.offsets).toEqual([0, 1, 2])
    expect(await bench.redriven()).toHaveLength(6)
  })

  it('is every group when that is asked for, when the group is gone, and in another topic', async () => {
    const { bench, other } = await givenUp('shared')
    await bench.session.createTopic('copies')
    const copies = new QueueSink()
    await copies.join(bench.session, 'copies', { group: 'x', credit: { messages: 100 } })
    await bench.session.redriveDeadLetters('orders', { max: 1, target: 'copies' })
    await bench.session.redriveDeadLetters('orders', { max: 1, everyGroup: true })
    await bench.queue.pass(0)
    expect([copies.offsets, other.offsets]).toEqual([[0], [0, 1, 2, 3]])
    await bench.session.deleteGroup('orders', 'g')
    await bench.session.redriveDeadLetters('orders')
    await bench.queue.pass(0)
    expect(other.offsets).toEqual([0, 1, 2, 3, 4])
  })
})

describe('a redrive that is interrupted', () => {
  const isIntent = ({ key }: StateChange): boolean => key.endsWith('/intent')
  const gone = (): never => {
    throw new RatatoskrError('RTK_STORE_FAILED', 'the process is gone')
  }
  /** Where the process dies: each lets what comes before happen, and nothing after. */
  const deaths: Record<string, (bench: LetterBench) => void> = {
    'before it is written down': ({ queue: { bench } }) => {
      bench.state.onChange = (changes) => {
        if (changes.some(isIntent)) gone()
      }
    },
    'before it publishes': ({ queue: { bench } }) => {
      bench.logs.onAppend = gone
    },
    'between two partitions': ({ queue: { bench } }) => {
      bench.logs.onAppend = ({ partition }) => {
        if (partition === 1) gone()
      }
    },
    'when it has published': ({ queue: { bench } }) => {
      bench.state.onChange = (changes) => {
        if (changes.some((change) => isIntent(change) && change.value === undefined)) gone()
      }
    },
  }

  for (const [when, dies] of Object.entries(deaths)) {
    for (const restarts of [true, false]) {
      it(`${when} goes on without loss or double send, ${restarts ? 'after a crash' : 'when it is called again'}`, async () => {
        const bench = await LetterBench.start({ partitions: 2 })
        await bench.bury(3, { partition: 0 })
        await bench.bury(3, { partition: 1 })
        const { logs, state } = bench.queue.bench
        dies(bench)
        const code = codeOf(() => bench.settled(bench.session.redriveDeadLetters('orders')))
        expect(await code).toMatch(/RTK_STORE_FAILED|RTK_UNAVAILABLE/)
        if (restarts) await bench.queue.crash()
        logs.onAppend = () => {}
        state.onChange = () => {}
        await bench.queue.pass(60_000) // what failed is opened again
        await bench.session.redriveDeadLetters('orders')
        expect(await bench.letters()).toEqual([])
        for (const partition of [0, 1]) expect(await bench.redriven('orders', partition)).toEqual(many(3))
      })
    }
  }

  it('is not held up by a batch among what it published that cannot be decoded', async () => {
    const bench = await LetterBench.start({ settings: { verifyRecords: false } })
    await bench.bury(2)
    const { state } = bench.queue.bench
    deaths['when it has published'](bench)
    expect(await codeOf(() => bench.session.redriveDeadLetters('orders'))).toBe('RTK_STORE_FAILED')
    state.onChange = () => {}
    const builder = new BatchBuilder({
      checksum: portableCrc32c,
      compression: { id: 4, compress: (bytes) => bytes },
    })
    builder.add({ payload: utf8('u'), timestampMs: 0 })
    await bench.session.publishBatch('orders', 0, builder.build())
    expect(await bench.session.redriveDeadLetters('orders')).toMatchObject({ redriven: 0 })
    expect(await bench.letters()).toEqual([])
  })

  it('waits until it can be known what was published', async () => {
    const bench = await LetterBench.start()
    await bench.bury(2)
    const { logs, state } = bench.queue.bench
    deaths['when it has published'](bench)
    await codeOf(() => bench.session.redriveDeadLetters('orders'))
    await bench.queue.crash()
    state.onChange = () => {}
    logs.onRead = gone
    expect(await codeOf(() => bench.session.redriveDeadLetters('orders'))).toBeDefined()
    logs.onRead = () => {}
    await bench.queue.pass(60_000)
    await bench.session.redriveDeadLetters('orders')
    expect(await bench.redriven()).toEqual(many(2))
  })
})

describe('purging dead letters', () => {
  it('lets go of those that the filter means, for good', async () => {
    const bench = await LetterBench.start()
    await bench.bury(3)
    expect(await bench.session.purgeDeadLetters('orders', { match: '1' })).toEqual({
      deadLetterTopic: 'orders.dlq',
      purged: 1,
      skipped: 2,
    })
    await bench.queue.crash()
    expect(await bench.errors()).toEqual(['error 0 of g', 'error 2 of g'])
    await bench.session.redriveDeadLetters('orders')
    expect(await bench.redriven()).toEqual(['m0', 'm2'])
  })
})

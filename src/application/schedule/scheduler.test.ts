/** Scheduled messages in a whole broker on a manual clock: when they come, what survives, and what is refused. */
import { describe, expect, it } from 'vitest'
import { messagesOf } from '../../domain/batch/messages.ts'
import type { Message, OutgoingMessage, PublishReceipt, Session } from '../../ports/index.ts'
import { RatatoskrError, utf8Text } from '../../ports/index.ts'
import { type BenchOptions, BrokerBench, codeOf, message, settled } from '../testing/broker-bench.ts'

const dayMs = 24 * 60 * 60 * 1_000
const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

/** Sweeps would fill a year of manual time. */
const quiet = { settings: { retentionIntervalMs: 1_000 * dayMs } }

async function started(options: BenchOptions = {}): Promise<{ bench: BrokerBench; session: Session }> {
  const bench = new BrokerBench({ ...quiet, ...options })
  const session = await bench.start()
  await session.createTopic('orders')
  return { bench, session }
}

async function read(session: Session, topic = 'orders', partition = 0): Promise<readonly Message[]> {
  const found: Message[] = []
  for (let offset = 0; ; ) {
    const { bytes, nextOffset, topicId } = await session.fetch(topic, { partition, offset })
    if (bytes.length === 0) return found
    found.push(
      ...messagesOf(
        bytes,
        { topic, topicId, partition, expansion: { codecs: new Map(), bytesMax: 1e9 } },
        offset,
      ),
    )
    offset = nextOffset
  }
}

const texts = async (session: Session, topic = 'orders', partition = 0): Promise<readonly string[]> =>
  (await read(session, topic, partition)).map(({ payload }) => utf8Text(payload))

/**
 * A new process on copies of the stores as they are now: the old one is gone without a word, and as nobody moves its clock
 * any more it does nothing.
 */
async function crashed(bench: BrokerBench): Promise<{ bench: BrokerBench; session: Session }> {
  const next = new BrokerBench(bench.options)
  next.clock.jumpTo(bench.clock.now())
  for (const [key, kept] of bench.logs.kept) {
    next.logs.kept.set(key, { ...kept, batches: [...kept.batches], open: undefined })
  }
  next.logs.onRead = bench.logs.onRead
  next.logs.onOpen = bench.logs.onOpen
  next.state.started = true
  for await (const { key, value } of bench.state.list('')) await next.state.put(key, value)
  return { bench: next, session: await next.start() }
}

async function restarted(bench: BrokerBench): Promise<Session> {
  await bench.broker.stop()
  bench.broker = bench.makeBroker()
  return bench.start()
}

describe('a message with a delivery time', () => {
  it('is not there a millisecond before it is due, and is there when it is', async () => {
    const { bench, session } = await started()
    const deliverAtMs = bench.clock.now() + 5_000
    const receipt = await session.publish('orders', message('later', { deliverAtMs, id: id(1) }))
    expect(receipt).toEqual({ id: id(1), partition: -1, offset: -1, durability: 'memory', deliverAtMs })
    await bench.clock.advance(4_999)
    expect(await texts(session)).toEqual([])
    await bench.clock.advance(1)
    expect(await texts(session)).toEqual(['later'])
    await bench.clock.advance(dayMs)
    expect(await texts(session)).toEqual(['later'])
  })

  it('keeps id, key, headers, payload and expiry, and has the time of its delivery', async () => {
    const { bench, session } = await started()
    const acceptedMs = bench.clock.now()
    await session.publish(
      'orders',
      message('x', {
        delayMs: 1_000,
        ttlMs: 500,
        id: id(7),
        key: new Uint8Array([1]),
        headers: [['h', new Uint8Array([2])]],
        timestampMs: 5,
      }),
    )
    await bench.clock.advance(1_000)
    const [got] = await read(session)
    expect(got).toMatchObject({ id: id(7), timestampMs: acceptedMs + 1_000, expiresAtMs: acceptedMs + 1_500 })
    expect([...(got.key ?? [])]).toEqual([1])
    expect(got.headers.slice(0, 2).map(([name]) => name)).toEqual(['h', 'rtk-deliver-at'])
    const [, [, time]] = got.headers
    expect(Number(new DataView(time.buffer, time.byteOffset).getBigInt64(0))).toBe(acceptedMs + 1_000)
  })

  it('comes after 90 and after 366 days, to the millisecond', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('90 days', { delayMs: 90 * dayMs }))
    await session.publish('orders', message('366 days', { delayMs: 366 * dayMs }))
    await bench.clock.advance(90 * dayMs - 1)
    expect(await texts(session)).toEqual([])
    await bench.clock.advance(1)
    expect(await texts(session)).toEqual(['90 days'])
    await bench.clock.advance(276 * dayMs - 1)
    expect(await texts(session)).toEqual(['90 days'])
    await bench.clock.advance(1)
    expect(await texts(session)).toEqual(['90 days', '366 days'])
  }, 60_000)

  it('is published at once when its time has come already', async () => {
    const { bench, session } = await started()
    for (const fields of [{ deliverAtMs: bench.clock.now() }, { deliverAtMs: 1 }, { delayMs: 0 }]) {
      const receipt = await session.publish('orders', message('now', fields))
      expect(receipt.deliverAtMs).toBeUndefined()
      expect(receipt.partition).toBe(0)
    }
    expect(await texts(session)).toEqual(['now', 'now', 'now'])
  })

  it('is refused when the times make no sense', async () => {
    const { bench, session } = await started()
    const nowMs = bench.clock.now()
    const wrong: readonly Partial<OutgoingMessage>[] = [
      { delayMs: 366 * dayMs + 1 },
      { deliverAtMs: nowMs + 366 * dayMs + 1 },
      { delayMs: 5, deliverAtMs: nowMs + 5 },
      { delayMs: -1 },
      { delayMs: 1.5 },
      { deliverAtMs: nowMs + 10, expiresAtMs: nowMs + 10 },
    ]
    for (const fields of wrong) {
      expect(await codeOf(() => session.publish('orders', message('x', fields)))).toBe('RTK_INVALID_ARGUMENT')
    }
    await session.publish(
      'orders',
      message('x', { delayMs: 366 * dayMs, expiresAtMs: nowMs + 366 * dayMs + 1 }),
    )
  })

  it('is delivered in the order of acceptance when others are due at the same time', async () => {
    const { bench, session } = await started()
    const deliverAtMs = bench.clock.now() + 60_000
    const key = new Uint8Array([1])
    for (let n = 0; n < 50; n++) {
      await session.publish('orders', message(`${n}`, { deliverAtMs, key }))
      await session.publish('orders', message(`early ${n}`, { deliverAtMs: deliverAtMs - n - 1, key }))
    }
    await bench.clock.advance(60_000)
    const all = await texts(session)
    expect(all.slice(0, 50)).toEqual(Array.from({ length: 50 }, (_, n) => `early ${49 - n}`))
    expect(all.slice(50)).toEqual(Array.from({ length: 50 }, (_, n) => `${n}`))
  })

  it('goes to the partition that it names, or that its key has', async () => {
    const { bench, session } = await started()
    await session.createTopic('wide', { partitions: 4 })
    await session.publish('wide', message('third', { delayMs: 10, partition: 3 }))
    expect(await codeOf(() => session.publish('wide', message('x', { delayMs: 10, partition: 4 })))).toBe(
      'RTK_PARTITION_NOT_FOUND',
    )
    const direct = await session.publish('wide', message('direct', { key: new Uint8Array([9]) }))
    await session.publish('wide', message('keyed', { delayMs: 10, key: new Uint8Array([9]) }))
    await bench.clock.advance(10)
    expect(await texts(session, 'wide', 3)).toContain('third')
    expect(await texts(session, 'wide', direct.partition)).toContain('keyed')
  })
})

describe('the topic of the scheduler', () => {
  it('is seen and changed by nobody', async () => {
    const { session } = await started()
    await session.publish('orders', message('x', { delayMs: 10 }))
    expect((await session.listTopics()).map(({ name }) => name)).toEqual(['orders'])
    expect(await session.topicExists('_scheduled')).toBe(false)
    expect(await codeOf(() => session.describeTopic('_scheduled'))).toBe('RTK_TOPIC_NOT_FOUND')
    expect(await codeOf(() => session.fetch('_scheduled', { partition: 0, offset: 0 }))).toBe(
      'RTK_TOPIC_NOT_FOUND',
    )
    expect(await codeOf(() => session.publish('_scheduled', message('x')))).toBe('RTK_PERMISSION_DENIED')
    expect(await codeOf(() => session.deleteTopic('_scheduled'))).toBe('RTK_PERMISSION_DENIED')
  })

  it('counts for nothing, and its messages when they are published', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('x', { delayMs: 10 }))
    expect(await session.brokerStats()).toMatchObject({ topics: 1, partitions: 1, messagesPublished: 0 })
    await bench.clock.advance(10)
    expect(await session.brokerStats()).toMatchObject({ topics: 1, partitions: 1, messagesPublished: 1 })
  })

  it('keeps no more messages than the limit says', async () => {
    const { bench, session } = await started({ limits: { scheduledMessagesMax: 2 } })
    const results = await session.publishMany(
      'orders',
      [1, 2, 3].map((n) => message(`${n}`, { delayMs: 10 })),
    )
    expect(results.map((result) => ('error' in result ? result.error.code : 'stored'))).toEqual([
      'stored',
      'stored',
      'RTK_LIMIT_EXCEEDED',
    ])
    await bench.clock.advance(10)
    await session.publish('orders', message('4', { delayMs: 10 }))
    expect(await texts(session)).toEqual(['1', '2'])
  })
})

describe('a restart', () => {
  it('loses nothing and delivers nothing twice', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10 }))
    await session.publish('orders', message('b', { delayMs: 90 * dayMs }))
    await bench.clock.advance(10)
    let next = await restarted(bench)
    expect(await texts(next)).toEqual(['a'])
    await bench.clock.advance(dayMs)
    next = await restarted(bench)
    await bench.clock.advance(89 * dayMs - 11)
    expect(await texts(next)).toEqual(['a'])
    await bench.clock.advance(1)
    expect(await texts(next)).toEqual(['a', 'b'])
    next = await restarted(bench)
    await bench.clock.advance(dayMs)
    expect(await texts(next)).toEqual(['a', 'b'])
  })

  it('delivers what became due while the broker was down', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10 }))
    await bench.broker.stop()
    await bench.clock.advance(dayMs)
    bench.broker = bench.makeBroker()
    const next = await bench.start()
    await bench.clock.advance(0)
    expect(await texts(next)).toEqual(['a'])
  })
})

describe('a crash', () => {
  it('between delivering and noting so delivers nothing twice', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('warm', { delayMs: 1 }))
    await bench.clock.advance(1)
    // The delivery is stored, and the checkpoint that would note it as done never comes.
    for (let n = 0; n < 5; n++) await session.publish('orders', message(`${n}`, { delayMs: 10, id: id(1) }))
    await bench.clock.advance(10)
    expect(await texts(session)).toEqual(['warm', '0', '1', '2', '3', '4'])
    const { bench: after, session: next } = await crashed(bench)
    await after.clock.advance(dayMs)
    expect(await texts(next)).toEqual(['warm', '0', '1', '2', '3', '4'])
  })

  it('before the delivery is stored loses nothing', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    await session.publish('orders', message('a', { delayMs: 10 }))
    bench.logs.onAppend = (log) => (log.topicId === topicId ? new Promise(() => {}) : undefined)
    await bench.clock.advance(10)
    bench.logs.onAppend = () => {}
    const { bench: after, session: next } = await crashed(bench)
    await after.clock.advance(0)
    expect(await texts(next)).toEqual(['a'])
  })

  it('at any change of state or append leaves each message delivered once', async () => {
    for (let steps = 0; steps < 40; steps++) {
      const { bench, session } = await started()
      let left = steps
      let dead = false
      const step = (): void | Promise<void> => {
        if (dead || left-- <= 0) {
          dead = true
          return new Promise(() => {})
        }
      }
      bench.logs.onAppend = () => step()
      bench.state.onChange = () => step()
      const accepted: string[] = []
      for (let n = 0; n < 6; n++) {
        session.publish('orders', message(`${n}`, { delayMs: 10 + 60 * n })).then(
          () => accepted.push(`${n}`),
          () => {},
        )
        await settled()
      }
      await bench.clock.advance(1_000)
      bench.logs.onAppend = () => {}
      bench.state.onChange = () => {}
      const { bench: after, session: next } = await crashed(bench)
      await after.clock.advance(1_000)
      const got = await texts(next)
      expect(new Set(got).size, `after ${steps} steps: ${got}`).toBe(got.length)
      expect(got, `after ${steps} steps`).toEqual(expect.arrayContaining(accepted))
    }
  })
})

describe('cancelling', () => {
  it('takes a message back, for good', async () => {
    const { bench, session } = await started()
    const { id: first } = (await session.publish('orders', message('a', { delayMs: 10 }))) as PublishReceipt
    await session.publish('orders', message('b', { delayMs: 10 }))
    expect(await session.cancelScheduled('orders', first)).toBe(true)
    expect(await session.cancelScheduled('orders', first)).toBe(false)
    const { bench: after, session: next } = await crashed(bench)
    expect(await next.cancelScheduled('orders', first)).toBe(false)
    await after.clock.advance(10)
    expect(await texts(next)).toEqual(['b'])
  })

  it('of what is delivered, or was never there, changes nothing', async () => {
    const { bench, session } = await started()
    expect(await session.cancelScheduled('orders', id(1))).toBe(false)
    await session.publish('orders', message('a', { delayMs: 10, id: id(1) }))
    await session.createTopic('others')
    expect(await session.cancelScheduled('others', id(1))).toBe(false)
    await bench.clock.advance(10)
    expect(await session.cancelScheduled('orders', id(1))).toBe(false)
    expect(await codeOf(() => session.cancelScheduled('orders', 'no uuid'))).toBe('RTK_INVALID_ARGUMENT')
    expect(await codeOf(() => session.cancelScheduled('none', id(1)))).toBe('RTK_TOPIC_NOT_FOUND')
    expect(await texts(session)).toEqual(['a'])
  })

  it('that races with the delivery has one winner', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    await session.publish('orders', message('a', { delayMs: 10, id: id(1) }))
    const gate = Promise.withResolvers<void>()
    bench.logs.onAppend = (log) => (log.topicId === topicId ? gate.promise : undefined)
    await bench.clock.advance(10)
    expect(await session.cancelScheduled('orders', id(1))).toBe(false)
    gate.resolve()
    await settled()
    expect(await texts(session)).toEqual(['a'])

    bench.logs.onAppend = () => {}
    await session.publish('orders', message('b', { delayMs: 10, id: id(2) }))
    const late = Promise.withResolvers<void>()
    bench.logs.onAppend = (log) => (log.topicId === topicId ? undefined : late.promise)
    const cancelled = session.cancelScheduled('orders', id(2))
    await bench.clock.advance(10)
    late.resolve()
    expect(await cancelled).toBe(true)
    await bench.clock.advance(dayMs)
    expect(await texts(session)).toEqual(['a'])
  })

  it('that cannot be stored leaves the message', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10, id: id(1) }))
    bench.logs.onAppend = () => {
      throw new RatatoskrError('RTK_STORE_FULL', 'no room')
    }
    expect(await codeOf(() => session.cancelScheduled('orders', id(1)))).toBe('RTK_STORE_FULL')
    bench.logs.onAppend = () => {}
    await bench.clock.advance(10)
    expect(await texts(session)).toEqual(['a'])
  })
})

describe('the log of the scheduler', () => {
  const mebibyte = new Uint8Array(1024 * 1024)
  const sizeOf = (bench: BrokerBench, topicId: string): number =>
    [...bench.logs.kept.values()]
      .filter(({ id: log }) => log.topicId === topicId)
      .flatMap(({ batches }) => batches)
      .reduce((sum, batch) => sum + batch.length, 0)

  /** Its id: it is of the one topic that nobody is told of. */
  async function logId(bench: BrokerBench, session: Session): Promise<string> {
    const known = new Set((await session.listTopics()).map((topic) => topic.id))
    const [hidden] = [...bench.logs.kept.values()]
      .map(({ id: log }) => log.topicId)
      .filter((one) => !known.has(one))
    return hidden
  }

  /** Two messages that wait for long, and behind them more that is done than the log may keep. */
  async function filled(): Promise<{ bench: BrokerBench; session: Session; log: string }> {
    const { bench, session } = await started()
    await session.publish('orders', message('first', { delayMs: 90 * dayMs, id: id(1) }))
    await session.publish('orders', message('second', { delayMs: 90 * dayMs, id: id(2) }))
    await session.createTopic('large', { retentionBytes: 1 })
    const log = await logId(bench, session)
    for (let n = 0; n < 20; n++) await session.publish('large', { payload: mebibyte, delayMs: 5 })
    return { bench, session, log }
  }

  it('is let go of although a message waits at its start, which comes once and in order all the same', async () => {
    const { bench, session, log } = await filled()
    expect(sizeOf(bench, log)).toBeGreaterThan(20 * 1024 * 1024)
    await bench.clock.advance(1_000)
    expect(sizeOf(bench, log)).toBeLessThan(2 * 1024 * 1024)
    expect((await session.listScheduled('orders')).messages).toHaveLength(2)
    await session.publish('orders', message('third', { deliverAtMs: bench.clock.now() + 90 * dayMs - 1_000 }))
    const { bench: after, session: next } = await crashed(bench)
    expect(await next.cancelScheduled('orders', id(1))).toBe(true)
    const { bench: later, session: last } = await crashed(after)
    expect((await last.listScheduled('orders')).messages.map((one) => one.id)).toContain(id(2))
    await later.clock.advance(90 * dayMs)
    expect(await texts(last)).toEqual(['second', 'third'])
  }, 60_000)

  it('holds each message once when a crash comes while one is moved', async () => {
    for (let steps = 0; steps < 6; steps++) {
      const { bench, log } = await filled()
      let left = steps
      const step = (): void | Promise<void> => (left-- > 0 ? undefined : new Promise(() => {}))
      // From here on only moves are written to the scheduler's log.
      bench.logs.onAppend = (to) => (to.topicId === log ? step() : undefined)
      bench.state.onChange = () => step()
      await bench.clock.advance(1_000)
      bench.logs.onAppend = () => {}
      bench.state.onChange = () => {}
      const { bench: after, session: next } = await crashed(bench)
      await after.clock.advance(90 * dayMs)
      expect(await texts(next), `after ${steps} steps`).toEqual(['first', 'second'])
    }
  }, 120_000)

  it('that cannot be read at start is read later, and nothing is lost', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10, id: id(1) }))
    const log = await logId(bench, session)
    await bench.broker.stop()
    bench.broker = bench.makeBroker()
    bench.logs.onRead = (from) => {
      if (from.topicId === log) throw new RatatoskrError('RTK_STORE_UNREADABLE', 'the medium gave an error')
    }
    const next = await bench.start()
    expect(await codeOf(() => next.listScheduled('orders'))).toBe('RTK_UNAVAILABLE')
    expect(await codeOf(() => next.cancelScheduled('orders', id(1)))).toBe('RTK_UNAVAILABLE')
    expect(await codeOf(() => next.publish('orders', message('b', { delayMs: 10 })))).toBe('RTK_UNAVAILABLE')
    await bench.clock.advance(10_000)
    expect(bench.logged('cannot be read')).toHaveLength(1)
    bench.logs.onRead = () => {}
    await bench.clock.advance(10_000)
    expect(await texts(next)).toEqual(['a'])
  })

  it('passes over what is lost to damage', async () => {
    const { bench, session } = await started()
    for (let n = 0; n < 3; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 }))
    bench.logs.damage(await logId(bench, session), { from: 1, to: 2 })
    await bench.clock.advance(10)
    expect(await texts(session)).toEqual(['0', '2'])
    expect(bench.logged('lost to damage')).toHaveLength(1)
    const next = await restarted(bench)
    await bench.clock.advance(1_000)
    expect(await texts(next)).toEqual(['0', '2'])
  })
})

describe('a partition that cannot be read at start', () => {
  it('is looked through later, and gets nothing twice', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    for (let n = 0; n < 3; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 }))
    await bench.clock.advance(10)
    bench.logs.onRead = (log) => {
      if (log.topicId === topicId)
        throw new RatatoskrError('RTK_STORE_UNREADABLE', 'the medium gave an error')
    }
    const { bench: after, session: next } = await crashed(bench)
    await next.createTopic('others')
    await next.publish('others', message('other', { delayMs: 10 }))
    await after.clock.advance(1_000)
    expect(await texts(next, 'others')).toEqual(['other'])
    after.logs.onRead = () => {}
    await after.clock.advance(60_000)
    expect(await texts(next)).toEqual(['0', '1', '2'])
  })
})

describe('a partition that is down at start', () => {
  it('is looked through when it is up again, and its topic waits until then', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    for (let n = 0; n < 3; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 }))
    await session.publish('orders', message('late', { delayMs: 20 }))
    await bench.clock.advance(10)
    bench.logs.onOpen = (log) => {
      if (log.topicId === topicId) throw new RatatoskrError('RTK_STORE_FAILED', 'the medium gave an error')
    }
    const { bench: after, session: next } = await crashed(bench)
    await after.clock.advance(1_000)
    after.logs.onOpen = () => {}
    await after.clock.advance(60_000)
    expect(await texts(next)).toEqual(['0', '1', '2', 'late'])
  })
})

describe('a topic that looks for duplicates', () => {
  it('keeps one message of those with the same id, and delivers none that it has', async () => {
    const { bench, session } = await started()
    await session.createTopic('once', { dedupWindowMs: dayMs })
    const first = await session.publish('once', message('a', { delayMs: 1_000, id: id(1) }))
    const again = await session.publish('once', message('a', { delayMs: 5_000, id: id(1) }))
    expect(again).toEqual({ ...first, duplicate: true })
    await session.publish('once', message('b', { delayMs: 1_000, id: id(2) }))
    await session.publish('once', message('b', { id: id(2) }))
    await bench.clock.advance(10_000)
    expect([...(await texts(session, 'once'))].sort()).toEqual(['a', 'b'])
  })
})

describe('listing', () => {
  it('gives what waits, page by page, those first that are due first', async () => {
    const { bench, session } = await started()
    expect(await session.listScheduled('orders')).toEqual({ messages: [], next: undefined })
    const startMs = bench.clock.now()
    for (let n = 0; n < 25; n++) {
      await session.publish('orders', message('abc', { deliverAtMs: startMs + 1_000 - (n % 5), id: id(n) }))
    }
    const found: string[] = []
    let after: string | undefined
    do {
      const page = await session.listScheduled('orders', { limit: 10, after })
      expect(page.messages.length).toBeLessThanOrEqual(10)
      for (const one of page.messages) {
        found.push(one.id)
        expect(one).toEqual({
          id: one.id,
          deliverAtMs: startMs + 1_000 - (Number(one.id.slice(-12)) % 5),
          sizeBytes: 3,
        })
      }
      after = page.next
    } while (after !== undefined)
    const wanted = [4, 3, 2, 1, 0].flatMap((rest) => [0, 5, 10, 15, 20].map((n) => id(n + rest)))
    expect(found).toEqual(wanted)
    for (const wrong of [{ limit: 0 }, { limit: 1_001 }, { after: 'x' }, { after: '1.2.3' }]) {
      expect(await codeOf(() => session.listScheduled('orders', wrong))).toBe('RTK_INVALID_ARGUMENT')
    }
  })
})

describe('a wall clock that is set', () => {
  it('forward makes what is due by it come within a minute', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 90 * dayMs }))
    await bench.clock.advance(1_000)
    bench.clock.jumpTo(bench.clock.now() + 91 * dayMs)
    await bench.clock.advance(60_000)
    expect(await texts(session)).toEqual(['a'])
  })

  it('back makes the message wait until the wall clock says so', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 60_000 }))
    bench.clock.jumpTo(bench.clock.now() - dayMs)
    await bench.clock.advance(dayMs + 59_999)
    expect(await texts(session)).toEqual([])
    await bench.clock.advance(1)
    expect(await texts(session)).toEqual(['a'])
  })
})

describe('a topic that cannot take its messages', () => {
  it('gets them when it can, in order, and others do not wait for it', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    await session.createTopic('others')
    for (let n = 0; n < 5; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 + n }))
    await session.publish('others', message('other', { delayMs: 12 }))
    bench.logs.onAppend = (log) => {
      if (log.topicId === topicId) throw new RatatoskrError('RTK_STORE_FULL', 'no room')
    }
    await bench.clock.advance(60_000)
    expect(await texts(session, 'others')).toEqual(['other'])
    expect(bench.logged('cannot be stored in their topic')).toHaveLength(1)
    bench.logs.onAppend = () => {}
    await bench.clock.advance(30_000)
    expect(await texts(session)).toEqual(['0', '1', '2', '3', '4'])
  })

  it('loses them when it is deleted, which is logged once', async () => {
    const { bench, session } = await started()
    for (let n = 0; n < 5; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 }))
    await session.deleteTopic('orders')
    await session.createTopic('orders')
    expect(await session.listScheduled('orders')).toEqual({ messages: [], next: undefined })
    await bench.clock.advance(dayMs)
    expect(await texts(session)).toEqual([])
    expect(bench.logged('were dropped')).toHaveLength(1)
    expect(bench.counted).toEqual(['ratatoskr.scheduled.dropped undefined'])
  })

  it('is not delivered to when the position cannot be stored, and is afterwards', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10 }))
    bench.state.onChange = () => {
      throw new RatatoskrError('RTK_STORE_FAILED', 'the state is gone')
    }
    await bench.clock.advance(60_000)
    expect(await texts(session)).toEqual([])
    bench.state.onChange = () => {}
    await bench.clock.advance(30_000)
    expect(await texts(session)).toEqual(['a'])
  })
})

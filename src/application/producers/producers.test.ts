import { describe, expect, it } from 'vitest'
import {
  BatchBuilder,
  type BatchReceipt,
  messagesOf,
  parseUuid,
  portableCrc32c,
  RatatoskrError,
  type Session,
  type StateChange,
  utf8,
  utf8Text,
} from '../../ports/index.ts'
import { type BenchOptions, BrokerBench, codeOf, message, settled } from '../testing/broker-bench.ts'
import { AppendGate } from '../testing/log-store-double.ts'
import { drawProducerId } from './producer-ids.ts'

async function started(options: BenchOptions = {}, dedupWindowMs = 0) {
  const bench = new BrokerBench(options)
  const session = await bench.start()
  await session.createTopic('orders', { partitions: 2, dedupWindowMs })
  return { bench, session }
}

interface BatchFields {
  readonly producerId?: number
  readonly epoch?: number
  readonly ids?: readonly (string | undefined)[]
  readonly timestampMs?: number
}

/** A batch of an idempotent producer, which begins at `baseSequence`. */
function numbered(baseSequence: number, texts: readonly string[], fields: BatchFields = {}): Uint8Array {
  const { producerId = 1, epoch = 0, ids = [], timestampMs = 0 } = fields
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (const [place, text] of texts.entries()) {
    const id = ids[place]
    builder.add({ payload: utf8(text), id: id === undefined ? undefined : parseUuid(id), timestampMs })
  }
  return producerId === -1 ? builder.build() : builder.build({ producerId, epoch, baseSequence })
}

const plain = (texts: readonly string[], ids: BatchFields['ids'], timestampMs = 0): Uint8Array =>
  numbered(0, texts, { producerId: -1, ids: ids ?? [], timestampMs })

const publish = async (session: Session, batch: Uint8Array, partition = 0): Promise<BatchReceipt> =>
  session.publishBatch('orders', partition, batch)

const expansion = { codecs: new Map(), bytesMax: 1_000_000 }

async function texts(session: Session, partition = 0): Promise<string> {
  let found = ''
  for (let offset = 0; ; ) {
    const { bytes, nextOffset } = await session.fetch('orders', { partition, offset, waitMs: 0 })
    if (bytes.length === 0) return found
    const source = { topic: 'orders', topicId: '', partition, expansion }
    for (const { payload } of messagesOf(bytes, source, offset)) found += utf8Text(payload)
    offset = nextOffset
  }
}

/** The same stores under a new broker: a start after a stop, or after a crash that stored nothing on its way out. */
async function restarted(bench: BrokerBench, crash: boolean): Promise<Session> {
  if (crash) {
    bench.state.onChange = () => {
      throw new RatatoskrError('RTK_STORE_FAILED', 'the process is gone')
    }
  }
  await bench.broker.stop()
  bench.state.onChange = () => {}
  bench.broker = bench.makeBroker()
  return bench.start()
}

describe('an id of a producer', () => {
  it('is drawn, so that a restart, a crash and a store without room have no part in it', async () => {
    const { bench, session } = await started()
    const ids: number[] = []
    const take = async (from: Session): Promise<void> => {
      const taken = await Promise.all(Array.from({ length: 600 }, () => from.initProducer()))
      ids.push(...taken.map(({ producerId }) => producerId))
      expect(taken.every(({ epoch }) => epoch === 0)).toBe(true)
    }
    await take(session)
    for (const crash of [false, true]) await take(await restarted(bench, crash))
    expect(new Set(ids).size).toBe(1_800)
    expect(ids.every((id) => Number.isSafeInteger(id) && id > 0)).toBe(true)
    // 53 bits: about half of them have the topmost.
    const large = ids.filter((id) => id >= 2 ** 52).length
    expect(large).toBeGreaterThan(600)
    expect(large).toBeLessThan(1_200)
  })

  it('is never 0: what the platform draws is drawn again then', () => {
    const draws = [0, 0, 1]
    const fill = (bytes: Uint8Array): Uint8Array => {
      new DataView(bytes.buffer).setUint32(4, draws.shift() ?? 0)
      return bytes
    }
    expect(drawProducerId({ fill, uuid: () => '', next: () => 0 })).toBe(1)
    expect(draws).toEqual([])
    expect(drawProducerId({ fill: (bytes) => bytes.fill(255), uuid: () => '', next: () => 0 })).toBe(
      Number.MAX_SAFE_INTEGER,
    )
  })

  it('of before is not given again when an older state is put back: what is acknowledged is stored', async () => {
    const { bench, session } = await started()
    const backup: StateChange[] = []
    for await (const { key, value } of bench.state.list('')) backup.push({ key, value })
    const producers = async (from: Session, text: string): Promise<void> => {
      for (let n = 0; n < 3; n++) {
        const { producerId } = await from.initProducer()
        const receipt = await publish(from, numbered(0, [text], { producerId }))
        expect(receipt).not.toHaveProperty('duplicate')
      }
    }
    await producers(session, 'old ')
    await bench.broker.stop()
    await bench.state.start()
    const changes: StateChange[] = []
    for await (const { key } of bench.state.list('')) changes.push({ key, value: undefined })
    await bench.state.putMany(changes)
    await bench.state.putMany(backup)
    bench.broker = bench.makeBroker()
    const again = await bench.start()
    await producers(again, 'new ')
    expect(await texts(again)).toBe('old old old new new new ')
  })
})

describe('a batch that is sent again', () => {
  it('is answered with the place of the first, and not stored', async () => {
    const { session } = await started()
    expect(await publish(session, numbered(0, ['a', 'b']))).not.toHaveProperty('duplicate')
    await publish(session, numbered(2, ['c']))
    expect(await publish(session, numbered(0, ['a', 'b']))).toEqual({
      partition: 0,
      baseOffset: 0,
      recordCount: 2,
      durability: 'memory',
      duplicate: true,
    })
    expect(await codeOf(() => publish(session, numbered(4, ['e'])))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
    expect(await publish(session, numbered(0, ['x'], { epoch: 1 }))).toMatchObject({ baseOffset: 3 })
    expect(await codeOf(() => publish(session, numbered(3, ['d'])))).toBe('RTK_PRODUCER_FENCED')
    expect(await texts(session)).toBe('abcx')
  })

  it('while the first is under way settles with it, or fails with it', async () => {
    const { bench, session } = await started()
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const first = publish(session, numbered(0, ['a']))
    let answer: BatchReceipt | undefined
    const again = publish(session, numbered(0, ['a'])).then((receipt) => (answer = receipt))
    await settled()
    expect([gate.waiting, answer]).toEqual([1, undefined])
    gate.release()
    expect([(await first).duplicate, (await again).duplicate]).toEqual([undefined, true])
    const doomed = [numbered(1, ['b']), numbered(1, ['b']), numbered(2, ['c'])].map((batch) =>
      codeOf(() => publish(session, batch)),
    )
    await settled()
    bench.logs.onAppend = () => {}
    gate.fail(new Error('broken'))
    expect(await Promise.all(doomed)).toEqual(Array(3).fill('RTK_STORE_FAILED'))
    await bench.clock.advance(10_000)
    expect(await publish(session, numbered(1, ['b']))).toMatchObject({ baseOffset: 1 })
    expect(await texts(session)).toBe('ab')
  })

  it.each([false, true])(
    'is known after a restart (crash: %s), when others came behind it',
    async (crash) => {
      const { bench, session } = await started()
      for (let at = 0; at < 18; at++) await publish(session, numbered(at, [`${at}`]))
      const after = await restarted(bench, crash)
      expect(await publish(after, numbered(17, ['17']))).toMatchObject({ baseOffset: 17, duplicate: true })
      expect(await publish(after, numbered(2, ['2']))).toMatchObject({ baseOffset: 2, duplicate: true })
      expect(await codeOf(() => publish(after, numbered(1, ['1'])))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
      expect(await publish(after, numbered(18, ['18']))).toMatchObject({ baseOffset: 18 })
      // Once more: what the snapshot tells and what the log tells make one table.
      const again = await restarted(bench, true)
      expect(await publish(again, numbered(18, ['18']))).toMatchObject({ baseOffset: 18, duplicate: true })
      expect(await publish(again, numbered(3, ['3']))).toMatchObject({ baseOffset: 3, duplicate: true })
    },
  )

  it('is forgotten with its topic', async () => {
    const { bench, session } = await started()
    await publish(session, numbered(0, ['a']))
    const after = await restarted(bench, false)
    expect(bench.state.keys.filter((key) => key.startsWith('producers/'))).toHaveLength(1)
    await after.deleteTopic('orders')
    expect(bench.state.keys.filter((key) => key.startsWith('producers/'))).toEqual([])
  })

  it('was forgotten with a producer that was silent too long', async () => {
    const { bench, session } = await started({ limits: { producerExpiryMs: 1_000 } })
    await publish(session, numbered(0, ['a']))
    await bench.clock.advance(999)
    expect(await publish(session, numbered(0, ['a']))).toMatchObject({ duplicate: true })
    await bench.clock.advance(1)
    expect(await codeOf(() => publish(session, numbered(1, ['b'])))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
  })
})

describe('a message id that comes again', () => {
  const [one, two, three] = ['1', '2', '3'].map((digit) => `${digit.repeat(8)}-0000-4000-8000-000000000000`)

  it('is answered with the place of the first until exactly the end of the window', async () => {
    const { bench, session } = await started({}, 1_000)
    await session.publish('orders', message('a', { id: one, partition: 1 }))
    await bench.clock.advance(999)
    expect(await session.publish('orders', message('b', { id: one, partition: 0 }))).toEqual({
      id: one,
      partition: 1,
      offset: 0,
      durability: 'memory',
      duplicate: true,
    })
    await bench.clock.advance(1)
    const later = await session.publish('orders', message('c', { id: one, partition: 0 }))
    expect(later).toEqual({ id: one, partition: 0, offset: 0, durability: 'memory' })
    const results = await session.publishMany('orders', [
      message('d', { id: two, partition: 0 }),
      message('e', { id: two, partition: 0 }),
    ])
    expect(results).toMatchObject([{ offset: 1 }, { offset: 1, duplicate: true }])
    expect([await texts(session, 0), await texts(session, 1)]).toEqual(['cd', 'a'])
  })

  it('waits for the first, and is stored when that one fails', async () => {
    const { bench, session } = await started({}, 1_000)
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const publishes = ['a', 'b'].map((text) =>
      session.publish('orders', message(text, { id: one, partition: text === 'a' ? 0 : 1 })),
    )
    await settled()
    expect(gate.waiting).toBe(1)
    gate.fail(new RatatoskrError('RTK_STORE_FULL', 'no room'))
    expect(await codeOf(() => publishes[0])).toBe('RTK_STORE_FULL')
    await settled()
    gate.release()
    expect(await publishes[1]).toMatchObject({ partition: 1, offset: 0 })
    expect(await publishes[1]).not.toHaveProperty('duplicate')
  })

  it('in a batch is cut out, and the receipt says where it is', async () => {
    const { session } = await started({}, 1_000)
    await publish(session, plain(['a', 'b'], [one, undefined]), 1)
    const receipt = await publish(session, plain(['x', 'c', 'y', 'd'], [one, two, two, undefined]))
    expect(receipt).toEqual({
      partition: 0,
      baseOffset: 0,
      recordCount: 4,
      durability: 'memory',
      duplicates: [
        { index: 0, partition: 1, offset: 0 },
        { index: 2, partition: 0, offset: 0 },
      ],
    })
    expect(await publish(session, plain(['z', 'z'], [two, one]))).toEqual({
      partition: 0,
      baseOffset: 0,
      recordCount: 2,
      durability: 'memory',
      duplicate: true,
      duplicates: [
        { index: 0, partition: 0, offset: 0 },
        { index: 1, partition: 1, offset: 0 },
      ],
    })
    expect([await texts(session, 0), await texts(session, 1)]).toEqual(['cd', 'ab'])
  })

  it('in numbered batches leaves no hole in the numbers', async () => {
    const { session } = await started({}, 1_000)
    await publish(session, numbered(0, ['a'], { ids: [one] }))
    expect(await publish(session, numbered(1, ['x', 'b'], { ids: [one, two] }))).toMatchObject({
      baseOffset: 1,
    })
    expect(await publish(session, numbered(3, ['y'], { ids: [two] }))).toMatchObject({ duplicate: true })
    expect(await publish(session, numbered(4, ['c'], { ids: [three] }))).toMatchObject({ baseOffset: 2 })
    expect(await codeOf(() => publish(session, numbered(9, ['d'], {})))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
    expect(await texts(session)).toBe('abc')
  })

  it.each([false, true])('is known after a restart (crash: %s) for the rest of its window', async (crash) => {
    const { bench, session } = await started({}, 1_000)
    const nowMs = bench.clock.now()
    await session.publish('orders', message('a', { id: one, partition: 1 }))
    await publish(session, plain(['b'], [two], nowMs))
    await bench.clock.advance(500)
    const after = await restarted(bench, crash)
    await bench.clock.advance(499)
    expect(await after.publish('orders', message('x', { id: one }))).toMatchObject({
      partition: 1,
      duplicate: true,
    })
    expect(await publish(after, plain(['x'], [two]), 1)).toMatchObject({ duplicate: true })
    await bench.clock.advance(1)
    expect(await after.publish('orders', message('c', { id: one, partition: 1 }))).toMatchObject({
      offset: 1,
    })
  })

  it('means nothing to a topic that was not asked to look, and is looked for from then on', async () => {
    const { session } = await started()
    for (const offset of [0, 1])
      expect(await session.publish('orders', message('a', { id: one, partition: 0 }))).toMatchObject({
        offset,
      })
    await session.alterTopic('orders', { dedupWindowMs: 1_000 })
    await session.publish('orders', message('b', { id: two, partition: 0 }))
    expect(await session.publish('orders', message('b', { id: two }))).toMatchObject({
      offset: 2,
      duplicate: true,
    })
    await session.alterTopic('orders', { dedupWindowMs: 0 })
    expect(await session.publish('orders', message('c', { id: two, partition: 0 }))).toMatchObject({
      offset: 3,
    })
  })
})

it('a publish under a lease that is not held is refused', async () => {
  const { session } = await started()
  const lease = { topic: 'orders', group: 'g', partition: 0, offset: 0, lease: 1 }
  for (const call of [
    () => session.publish('orders', message('a'), { lease }),
    () => session.publishBatch('orders', 0, plain(['a'], []), { lease: { ...lease, topic: 'nowhere' } }),
  ])
    expect(await codeOf(call)).toBe('RTK_LEASE_LOST')
  const results = await session.publishMany('orders', [message('a')], { lease })
  expect(results).toMatchObject([{ error: { code: 'RTK_LEASE_LOST' } }])
})

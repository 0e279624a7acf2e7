/** A broker of three workers, asked through each of them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import {
  BatchBuilder,
  type BatchDelivery,
  isRatatoskrError,
  messagesOf,
  type Platform,
  type RatatoskrError,
  type Session,
  type Storage,
  stampProducer,
  utf8,
  utf8Text,
} from '../ports/index.ts'
import { brokerWith } from './create-broker.ts'
import type { EmbeddedBroker } from './embedded-broker.ts'
import { ThreadsHere } from './testing/threads-here.ts'

const platform = nodePlatform({ logger: silentLogger })
const peer = { transport: 'test', address: 'test', local: true, encrypted: false }
const topic = 'orders'
const partitions = 6

class Rig implements AsyncDisposable {
  readonly broker: EmbeddedBroker
  readonly threads: ThreadsHere

  private constructor(broker: EmbeddedBroker, threads: ThreadsHere) {
    this.broker = broker
    this.threads = threads
  }

  static async start(
    storageOf: (index: number) => Storage = () => memoryStorage(),
    on: Platform = platform,
  ): Promise<Rig> {
    const options = (index: number) => ({ storage: storageOf(index), platform: on })
    const threads = new ThreadsHere(3, options, () => tcpTransport({ port: 0 }))
    const broker = await brokerWith(options(0), threads)
    await broker.start()
    return new Rig(broker, threads)
  }

  /** A session that is connected to a worker, the controller too. */
  session(index: number): Promise<Session> {
    const facade = index === 0 ? this.broker.facade : this.threads.workers.get(index)?.facade
    if (facade === undefined) throw new Error(`worker ${index} does not run`)
    return facade.connect(peer, { kind: 'none' })
  }

  sessions(): Promise<readonly Session[]> {
    return Promise.all([0, 1, 2].map((index) => this.session(index)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.broker.stop()
  }
}

const batchOf = (texts: readonly string[]): Uint8Array => {
  const builder = new BatchBuilder({ checksum: platform.checksum })
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs: 1 })
  return builder.build().slice()
}

/** The texts of a partition, from its beginning, as a session reads them. */
async function textsOf(session: Session, partition: number): Promise<string[]> {
  const texts: string[] = []
  for (let offset = 0; ; ) {
    const batch = await session.fetch(topic, { partition, offset })
    if (batch.bytes.length === 0) return texts
    const expansion = { codecs: platform.compression, bytesMax: 1_000_000 }
    const source = { topic, topicId: batch.topicId, partition, expansion }
    for (const { payload } of messagesOf(batch.bytes, source)) texts.push(utf8Text(payload))
    offset = batch.nextOffset
  }
}

const until = async (holds: () => Promise<boolean> | boolean): Promise<void> => {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5))
}

describe('three workers', () => {
  it('keep the order of each producer and partition, whoever it is connected to and whoever owns the partition', async () => {
    await using rig = await Rig.start()
    const sessions = await rig.sessions()
    await sessions[1].createTopic(topic, { partitions })
    const sent: unknown[] = []
    for (let round = 0; round < 50; round++) {
      for (const [who, session] of sessions.entries()) {
        for (let partition = 0; partition < partitions; partition++) {
          const text = `${who}:${round}`
          // Batches and single messages of one turn: not awaited, in order all the same.
          sent.push(session.publishBatch(topic, partition, batchOf([`${text}a`, `${text}b`])))
          sent.push(session.publish(topic, { payload: utf8(`${text}c`), partition }))
        }
      }
    }
    await Promise.all(sent)
    for (const reader of sessions) {
      for (let partition = 0; partition < partitions; partition++) {
        const texts = await textsOf(reader, partition)
        expect(texts).toHaveLength(450)
        for (const who of [0, 1, 2]) {
          const own = texts.filter((text) => text.startsWith(`${who}:`))
          const expected = Array.from({ length: 50 }, (_, r) => ['a', 'b', 'c'].map((x) => `${who}:${r}${x}`))
          expect(own).toEqual(expected.flat())
        }
      }
    }
  })

  it('show at every worker at once what was acknowledged by another', async () => {
    await using rig = await Rig.start()
    const sessions = await rig.sessions()
    await sessions[2].createTopic(topic, { partitions })
    for (let round = 0; round < 60; round++) {
      const partition = round % partitions
      const { offset } = await sessions[round % 3].publish(topic, { payload: utf8(`${round}`), partition })
      const batch = await sessions[(round + 1) % 3].fetch(topic, { partition, offset })
      expect([batch.nextOffset, batch.stableOffset]).toEqual([offset + 1, offset + 1])
    }
  })

  it('give no more to a subscriber than it has credit for', async () => {
    await using rig = await Rig.start()
    const sessions = await rig.sessions()
    await sessions[0].createTopic(topic, { partitions })
    const given: BatchDelivery[] = []
    const options = { from: 'earliest', credit: { bytes: 5_000 } } as const
    const subscription = await sessions[1].subscribe(topic, options, {
      deliver: (delivery) => void given.push(delivery),
      ended: () => {},
    })
    const big = 'x'.repeat(1_000)
    for (let i = 0; i < 60; i++) await sessions[2].publishBatch(topic, i % partitions, batchOf([big]))
    await sessions[1].describeTopic(topic)
    expect(given).toHaveLength(4)
    subscription.grant({ bytes: 1_000_000 })
    await until(
      () => given.reduce((sum, { fromOffset, nextOffset }) => sum + nextOffset - fromOffset, 0) === 60,
    )
  })

  it('say which of them a connection reaches, and which one owns a partition', async () => {
    await using rig = await Rig.start()
    const facades = [rig.broker.facade, ...[1, 2].map((index) => rig.threads.workers.get(index)?.facade)]
    const broker = rig.broker.facade.place?.broker
    expect(broker).toMatch(/^[0-9a-f-]{36}$/)
    expect(facades.map((facade) => facade?.place)).toEqual(
      [0, 1, 2].map((worker) => ({ broker, worker, workers: 3 })),
    )
    const session = await rig.session(2)
    await session.createTopic(topic, { partitions })
    const described = await session.describeTopic(topic)
    const owners = described.partitions.map(({ worker }) => worker as number)
    expect(owners.toSorted()).toEqual([0, 0, 1, 1, 2, 2])
    const listed = (await session.listTopics())[0].partitions.map(({ worker }) => worker)
    expect(listed).toEqual(owners)
    // Ids are looked for by the controller: what goes to another worker would be handed to it.
    const altered = await session.alterTopic(topic, { dedupWindowMs: 60_000 })
    expect(altered.partitions.map(({ worker }) => worker)).toEqual([0, 0, 0, 0, 0, 0])
  })

  it('do not store a batch of an idempotent producer again that comes through another worker', async () => {
    await using rig = await Rig.start()
    const sessions = await rig.sessions()
    await sessions[0].createTopic(topic, { partitions })
    const { producerId } = await sessions[1].initProducer()
    for (let partition = 0; partition < partitions; partition++) {
      const batch = batchOf(['a', 'b'])
      stampProducer(batch, { producerId, epoch: 0, baseSequence: 0 }, platform.checksum)
      const first = await sessions[1].publishBatch(topic, partition, batch.slice())
      const again = await sessions[2].publishBatch(topic, partition, batch.slice())
      expect([first, again]).toMatchObject([{ baseOffset: 0 }, { baseOffset: 0, duplicate: true }])
      expect(await textsOf(sessions[0], partition)).toEqual(['a', 'b'])
    }
  })

  it('look for ids through all of a topic, and deliver later what is to come later', async () => {
    await using rig = await Rig.start()
    const sessions = await rig.sessions()
    await sessions[1].createTopic(topic, { partitions, dedupWindowMs: 60_000 })
    const id = '0f0e0d0c-0b0a-4908-8706-050403020100'
    const first = await sessions[1].publish(topic, { payload: utf8('a'), id, partition: 1 })
    const again = await sessions[2].publish(topic, { payload: utf8('a'), id, partition: 1 })
    expect([first.offset, again.offset, again.duplicate]).toEqual([0, 0, true])
    const later = await sessions[2].publish(topic, { payload: utf8('later'), partition: 2, delayMs: 30 })
    expect(later.partition).toBe(-1)
    await until(async () => (await textsOf(sessions[1], 2)).length > 0)
  })

  it('end the subscriptions of a topic that is deleted through another worker', async () => {
    await using rig = await Rig.start()
    const sessions = await rig.sessions()
    await sessions[0].createTopic(topic, { partitions })
    const reason = new Promise<RatatoskrError | undefined>((ended) => {
      void sessions[1].subscribe(topic, {}, { deliver: () => {}, ended })
    })
    await sessions[1].topicExists(topic)
    await sessions[2].deleteTopic(topic)
    expect((await reason)?.code).toBe('RTK_TOPIC_DELETED')
    await expect(sessions[1].fetch(topic, { partition: 0, offset: 0 })).rejects.toMatchObject({
      code: 'RTK_TOPIC_NOT_FOUND',
    })
    await sessions[1].createTopic(topic, { partitions: 2 })
    expect(await sessions[2].publish(topic, { payload: utf8('new'), partition: 1 })).toMatchObject({
      offset: 0,
    })
  })

  it('give new partitions to whoever subscribes already', async () => {
    await using rig = await Rig.start()
    const sessions = await rig.sessions()
    await sessions[0].createTopic(topic, { partitions: 1 })
    const seen = new Set<number>()
    await sessions[1].subscribe(
      topic,
      { credit: { bytes: 1_000_000 } },
      { deliver: ({ partition }) => void seen.add(partition), ended: () => {} },
    )
    await sessions[2].alterTopic(topic, { partitions })
    for (let partition = 0; partition < partitions; partition++) {
      await sessions[0].publish(topic, { payload: utf8('x'), partition })
    }
    await until(() => seen.size === partitions)
  })
})

describe('a subscription that the controller keeps for another worker', () => {
  it('refuses credit that is none at once, as one that is here does', async () => {
    await using rig = await Rig.start()
    const session = await rig.session(1)
    await session.createTopic(topic, { partitions: 1 })
    const sink = { deliver: () => {}, lost: () => {}, ended: () => {} }
    const subscriptions = [
      await session.subscribe(topic, { group: 'a' }, sink),
      await session.consume(topic, { group: 'b' }, sink),
    ]
    for (const subscription of subscriptions) {
      expect(() => subscription.grant({ bytes: -1 })).toThrow(
        expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT' }),
      )
      expect(() => subscription.grant({ bytes: 1, messages: 1 })).not.toThrow()
    }
  })
})

describe('a worker that gives no sign of life', () => {
  it('is ended after 10 seconds and started again; the others go on', async () => {
    const clock = new ManualClock()
    await using rig = await Rig.start(() => memoryStorage(), { ...platform, clock })
    const session = await rig.session(1)
    await session.createTopic(topic, { partitions })
    const { partitions: described } = await session.describeTopic(topic)
    const ofWorker = (index: number) => described.findIndex(({ worker }) => worker === index)
    const publish = (partition: number) => session.publish(topic, { payload: utf8('x'), partition })
    /** Time passes, in steps that leave workers the turns of the event loop in which they answer. */
    const pass = async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 100) {
        await clock.advance(100)
        await session.topicExists(topic)
      }
    }
    await pass(5_000)
    rig.threads.stick(2)
    await pass(10_800)
    expect(rig.threads.starts).toEqual([undefined, 1, 1])
    expect(rig.broker.health().status).toBe('ok')
    await until(async () => {
      await pass(100)
      return rig.broker.health().status === 'degraded'
    })
    expect(clock.monotonic()).toBeLessThan(5_000 + 11_500)
    await publish(ofWorker(0))
    await publish(ofWorker(1))
    await until(async () => {
      await pass(100)
      return rig.threads.starts[2] === 2 && rig.broker.health().status === 'ok'
    })
    await publish(ofWorker(2))
    await pass(15_000)
    expect(rig.threads.starts).toEqual([undefined, 1, 2])
  })
})

describe('a worker that ends', () => {
  let directory = ''
  afterEach(() => rm(directory, { recursive: true, force: true }))

  it('costs its partitions a pause, and nothing that was acknowledged; the others go on', async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-workers-'))
    await using rig = await Rig.start((index) => diskStorage({ directory: join(directory, `${index}`) }))
    const session = await rig.session(1)
    await session.createTopic(topic, { partitions, durability: 'os' })
    const acked = Array.from({ length: partitions }, () => new Set<string>())
    const refusals = new Set<string>()
    let running = true
    const writers = acked.map(async (texts, partition) => {
      for (let i = 0; running; i++) {
        try {
          const { offset } = await session.publish(topic, { payload: utf8(`${i}`), partition })
          texts.add(`${offset}=${i}`)
        } catch (error) {
          if (!isRatatoskrError(error) || !error.retryable) throw error
          refusals.add(error.code)
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
      }
    })
    const ackedBy = () => acked.map(({ size }) => size)
    await until(() => ackedBy().every((count) => count > 20))
    await rig.threads.kill(2)
    expect(rig.broker.health()).toMatchObject({ status: 'degraded' })
    expect(rig.broker.health().components.map(({ name }) => name)).toContain('worker 2')
    const before = ackedBy()
    await until(() => ackedBy().filter((count, i) => count > before[i] + 20).length >= 4)
    await until(() => ackedBy().every((count, i) => count > before[i] + 20))
    running = false
    await Promise.all(writers)
    expect([...refusals]).toEqual(['RTK_UNAVAILABLE'])
    expect(rig.threads.starts).toEqual([undefined, 1, 2])
    for (const reader of [session, await rig.session(2), await rig.session(0)]) {
      for (let partition = 0; partition < partitions; partition++) {
        const stored = new Set((await textsOf(reader, partition)).map((text, offset) => `${offset}=${text}`))
        expect([...acked[partition]].filter((one) => !stored.has(one))).toEqual([])
      }
    }
  })
})

/** Publishing: every field byte for byte, every refusal by code. */
import fc from 'fast-check'
import { BatchBuilder, type Header, type OutgoingMessage, utf8 } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode } from '../suite.ts'
import { type TransportContext, textMessage } from './context.ts'

const bytes = (max: number) => fc.uint8Array({ maxLength: max })
const headerName = fc
  .stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,19}$/)
  .filter((name) => !name.toLowerCase().startsWith('rtk-'))

/** Messages of any bytes; header names differ within a message, since not every protocol keeps the order of equal ones. */
const anyMessage: fc.Arbitrary<OutgoingMessage> = fc.record({
  payload: bytes(200),
  key: fc.option(bytes(40), { nil: undefined }),
  headers: fc.uniqueArray(fc.tuple(headerName, bytes(40)), {
    maxLength: 5,
    selector: ([name]) => name.toLowerCase(),
  }),
  id: fc.option(fc.uuid({ version: 4 }), { nil: undefined }),
  timestampMs: fc.option(fc.integer({ min: 0, max: 4_102_444_800_000 }), { nil: undefined }),
})

const sorted = (headers: readonly Header[] = []) =>
  headers.map(([name, value]) => [name, [...value]] as const).sort(([a], [b]) => (a < b ? -1 : 1))

export const publishCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'carries key, headers, id, timestamp and payload byte for byte',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      await fc.assert(
        fc.asyncProperty(anyMessage, async (sent) => {
          const receipt = await probe.publish('orders', sent)
          const [got] = await probe.fetch('orders', receipt.partition, receipt.offset)
          expect(got.offset).toBe(receipt.offset)
          expect(got.id).toBe(receipt.id)
          if (sent.id !== undefined) expect(got.id).toBe(sent.id)
          if (sent.timestampMs !== undefined) expect(got.timestampMs).toBe(sent.timestampMs)
          expect(got.key && [...got.key]).toEqual(sent.key && [...sent.key])
          expect([...got.payload]).toEqual([...sent.payload])
          expect(sorted(got.headers)).toEqual(sorted(sent.headers))
        }),
        { numRuns: 40 },
      )
    },
  },
  {
    name: 'gives a receipt with id, partition, offset and the durability reached',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      const receipt = await probe.publish('orders', textMessage('x'))
      expect(receipt).toEqual({
        id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
        partition: 0,
        offset: 0,
        durability: 'memory',
      })
    },
  },
  {
    name: 'sends equal keys to one partition, and an explicit partition where it says',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders', { partitions: 4 })
      // The partition of a key is Kafka's: murmur2 of the bytes, positive, modulo the partitions. "foobar" -> 3.
      const partitions = new Set<number>()
      for (let i = 0; i < 5; i++)
        partitions.add((await probe.publish('orders', textMessage('x', { key: utf8('foobar') }))).partition)
      expect([...partitions]).toEqual([(-790332482 & 0x7fffffff) % 4])
      expect((await probe.publish('orders', textMessage('x', { partition: 1 }))).partition).toBe(1)
    },
  },
  {
    name: 'carries a payload of 1 MiB, and an empty one',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      const large = new Uint8Array(1024 * 1024).map((_, i) => (i * 31) % 251)
      const first = await probe.publish('orders', { payload: large })
      const second = await probe.publish('orders', { payload: new Uint8Array(0) })
      const [got] = await probe.fetch('orders', 0, first.offset)
      expect(Buffer.compare(Buffer.from(got.payload), Buffer.from(large))).toBe(0)
      expect((await probe.fetch('orders', 0, second.offset))[0].payload).toHaveLength(0)
    },
  },
  {
    name: 'publishes many with a result for each',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders', { messageBytesMax: 1_000 })
      const results = await probe.publishMany('orders', [
        textMessage('a'),
        { payload: new Uint8Array(2_000) },
        textMessage('c'),
      ])
      expect(results.map((result) => ('error' in result ? result.error.code : result.offset))).toEqual([
        0,
        'RTK_MESSAGE_TOO_LARGE',
        1,
      ])
      expect(
        (await probe.fetch('orders', 0, 0)).map(({ payload }) => Buffer.from(payload).toString()),
      ).toEqual(['a', 'c'])
    },
  },
  {
    name: 'keeps the order of one producer',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      const receipts = await Promise.all(
        Array.from({ length: 50 }, (_, i) => probe.publish('orders', textMessage(`m${i}`))),
      )
      expect(receipts.map(({ offset }) => offset)).toEqual(Array.from({ length: 50 }, (_, i) => i))
    },
  },
  {
    name: 'carries record batches as they are, or says that it cannot',
    async run(context) {
      const { broker, transport, connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      const builder = new BatchBuilder({ checksum: broker.platform.checksum })
      for (const text of ['a', 'b', 'c']) builder.add({ payload: utf8(text), timestampMs: 1_000 })
      const batch = builder.build()
      if (!transport.supports.batches) {
        await expectCode(() => probe.publishBatch('orders', 0, batch), 'RTK_NOT_SUPPORTED')
        return
      }
      expect((await probe.publishBatch('orders', 0, batch.slice())).baseOffset).toBe(0)
      expect((await probe.publishBatch('orders', 0, batch.slice())).baseOffset).toBe(3)
      const broken = batch.slice()
      broken[broken.length - 1] ^= 1
      await expectCode(() => probe.publishBatch('orders', 0, broken), 'RTK_BATCH_CRC_MISMATCH')
      await expectCode(() => probe.publishBatch('orders', 0, batch.slice(0, 40)), 'RTK_BATCH_MALFORMED')
      await expectCode(
        () => probe.publishBatch('orders', 0, new Uint8Array(0)),
        'RTK_BATCH_MALFORMED',
        'RTK_INVALID_ARGUMENT',
      )
      await expectCode(() => probe.publishBatch('orders', 9, batch.slice()), 'RTK_PARTITION_NOT_FOUND')
      expect(
        (await probe.fetch('orders', 0, 0)).map(({ payload }) => Buffer.from(payload).toString()),
      ).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
    },
  },
  {
    name: 'refuses bad messages by code, and stores nothing of them',
    async run(context) {
      const { connect } = await context.broker({ limits: { messageBytesMax: 10_000 } })
      const probe = await connect()
      await probe.createTopic('orders')
      const refusals: [string, OutgoingMessage, string][] = [
        ['too large', { payload: new Uint8Array(20_000) }, 'RTK_MESSAGE_TOO_LARGE'],
        ['reserved header', textMessage('x', { headers: [['rtk-id', utf8('x')]] }), 'RTK_HEADER_INVALID'],
        [
          'header with a line feed',
          textMessage('x', { headers: [['a\r\nb', utf8('x')]] }),
          'RTK_HEADER_INVALID',
        ],
        ['header without a name', textMessage('x', { headers: [['', utf8('x')]] }), 'RTK_HEADER_INVALID'],
        [
          'too many headers',
          textMessage('x', { headers: Array.from({ length: 65 }, (_, i) => [`h${i}`, utf8('x')] as const) }),
          'RTK_HEADER_INVALID',
        ],
        [
          '10,000 headers',
          textMessage('x', {
            headers: Array.from({ length: 10_000 }, (_, i) => [`h${i}`, utf8('')] as const),
          }),
          'RTK_HEADER_INVALID',
        ],
        ['no UUID', textMessage('x', { id: 'not-a-uuid' }), 'RTK_INVALID_ARGUMENT'],
        ['no such partition', textMessage('x', { partition: 7 }), 'RTK_PARTITION_NOT_FOUND'],
      ]
      for (const [what, message, code] of refusals) {
        await expectCode(() => probe.publish('orders', message), code).catch((error: unknown) => {
          throw new Error(`${what}: ${(error as Error).message}`)
        })
      }
      expect((await probe.topicStats('orders')).messageCount).toBe(0)
    },
  },
  {
    name: 'takes a header called __proto__ as a name like any other',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.publish('orders', textMessage('x', { headers: [['__proto__', utf8('polluted')]] }))
      const [got] = await probe.fetch('orders', 0, 0)
      expect(got.headers.map(([name, value]) => [name, Buffer.from(value).toString()])).toEqual([
        ['__proto__', 'polluted'],
      ])
      expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    },
  },
  {
    name: 'refuses a durability that the storage cannot reach',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      await expectCode(() => probe.publish('orders', textMessage('x'), 'fsync'), 'RTK_DURABILITY_UNAVAILABLE')
      expect((await probe.publish('orders', textMessage('x'), 'memory')).durability).toBe('memory')
    },
  },
]

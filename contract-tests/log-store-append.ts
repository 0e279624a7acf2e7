/** Cases of the log store suite: appending. */
import { isRatatoskrError, type LogStore } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { batchOfSize, sampleBatch } from './batches.ts'
import {
  appendAtOnce,
  appendMany,
  appendOne,
  expectLog,
  type LogStoreCase,
  largeSegments,
  later,
  logA,
  openFirst,
  readAll,
  topicA,
  topicB,
} from './log-store-context.ts'
import { expectCode } from './suite.ts'

const MIB = 1024 * 1024

export const appendCases: readonly LogStoreCase[] = [
  {
    name: 'a new log is empty and begins at offset 0',
    async run(context) {
      const { log } = await openFirst(context)
      const { startOffset, stableOffset, endOffset, sizeBytes } = log
      expect({ startOffset, stableOffset, endOffset, sizeBytes }).toEqual({
        startOffset: 0,
        stableOffset: 0,
        endOffset: 0,
        sizeBytes: 0,
      })
      expect((await log.read(0, 1024)).length).toBe(0)
    },
  },
  {
    name: 'gives back what was appended, byte for byte, over many segments',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 60)
      await expectLog(log, batches)
    },
  },
  {
    name: 'keeps batches whole in segments larger than they are, too',
    async run(context) {
      const { log, level } = await openFirst(context, largeSegments)
      const batches = await appendMany(log, level, 300, { payloadBytes: 90 })
      await expectLog(log, batches)
    },
  },
  {
    name: 'counts an append at once in endOffset and when it has settled in stableOffset',
    async run(context) {
      const { log, level } = await openFirst(context)
      const pending = later(log.append(sampleBatch({ baseOffset: 0, count: 5 }), 0, 5, level))
      expect(log.endOffset).toBe(5)
      expect(log.stableOffset).toBeLessThanOrEqual(5)
      await pending
      expect(log.stableOffset).toBe(5)
    },
  },
  {
    name: 'settles appends that are in flight together in their order, each counted in stableOffset by then',
    async run(context) {
      const { log, level } = await openFirst(context)
      const order: number[] = []
      const { batches, settled } = appendAtOnce(log, level, 50)
      let end = 0
      await Promise.all(
        settled.map((promise, i) => {
          end += 1 + (i % 3)
          const endOffset = end
          return promise.then(() => {
            order.push(i)
            expect(log.stableOffset, `stable offset when append ${i} settles`).toBeGreaterThanOrEqual(
              endOffset,
            )
          })
        }),
      )
      expect(order).toEqual(settled.map((_, i) => i))
      await expectLog(log, batches)
    },
  },
  {
    name: 'settles appends of different levels in their order',
    async run(context) {
      const { store, log } = await openFirst(context)
      const levels = store.supports.durability
      const order: number[] = []
      const pending = Array.from({ length: 30 }, (_, i) => {
        const level = levels[(i * 7) % levels.length]
        return Promise.resolve(log.append(sampleBatch({ baseOffset: i }), i, 1, level)).then(() =>
          order.push(i),
        )
      })
      await Promise.all(pending)
      expect(order).toEqual(pending.map((_, i) => i))
    },
  },
  {
    name: 'reaches each level that it says it supports, and refuses a stronger one with nothing written',
    async run(context) {
      const { store, log } = await openFirst(context)
      const batches = []
      for (const level of store.supports.durability) batches.push(await appendOne(log, level))
      const tooMuch = (['memory', 'os', 'interval', 'fsync', 'quorum'] as const).filter(
        (_, place, all) => place > Math.max(...store.supports.durability.map((one) => all.indexOf(one))),
      )
      const end = log.endOffset
      for (const level of tooMuch) {
        await expectCode(
          () => log.append(sampleBatch({ baseOffset: end }), end, 1, level),
          'RTK_DURABILITY_UNAVAILABLE',
        )
      }
      await expectLog(log, batches)
    },
  },
  {
    name: 'refuses an append that does not start at the end, and writes nothing of it',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 3)
      const end = log.endOffset
      for (const baseOffset of [end - 1, end + 1, 0, end + 1000]) {
        await expectCode(
          () => log.append(sampleBatch({ baseOffset, seed: 99 }), baseOffset, 1, level),
          'RTK_OFFSET_CONFLICT',
        )
      }
      await expectLog(log, batches)
      batches.push(await appendOne(log, level))
      await expectLog(log, batches)
    },
  },
  {
    name: 'refuses a conflicting append among appends in flight, and leaves those alone',
    async run(context) {
      const { log, level } = await openFirst(context)
      const first = appendAtOnce(log, level, 5)
      const conflict = expectCode(
        () => log.append(sampleBatch({ baseOffset: 1, seed: 99 }), 1, 1, level),
        'RTK_OFFSET_CONFLICT',
      )
      const second = appendAtOnce(log, level, 5)
      await Promise.all([...first.settled, conflict, ...second.settled])
      await expectLog(log, [...first.batches, ...second.batches])
    },
  },
  {
    name: 'copies what it is given: the caller may reuse the buffer as soon as append returns',
    async run(context) {
      const { log, level } = await openFirst(context)
      const buffer = sampleBatch({ baseOffset: 0, payloadBytes: 200 })
      const first = buffer.slice()
      const second = sampleBatch({ baseOffset: 1, payloadBytes: 200, seed: 77 })
      const one = later(log.append(buffer, 0, 1, level))
      buffer.set(second)
      const two = later(log.append(buffer, 1, 1, level))
      buffer.fill(0xee)
      await one
      await two
      await expectLog(log, [first, second])
    },
  },
  {
    name: 'copies a large batch that lies in a larger buffer too',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batch = sampleBatch({ baseOffset: 0, payloadBytes: 200_000 })
      const larger = new Uint8Array(batch.length * 2)
      larger.set(batch, 50)
      const appended = later(log.append(larger.subarray(50, 50 + batch.length), 0, 1, level))
      larger.fill(0xee)
      await appended
      await expectLog(log, [batch])
    },
  },
  {
    name: 'takes batches that fill a large buffer between small ones',
    async run(context) {
      const { log, level } = await openFirst(context)
      const sizes = [100, 300_000, 100, 100, 70_000, 140_000, 100]
      const batches = sizes.map((payloadBytes, baseOffset) => sampleBatch({ baseOffset, payloadBytes }))
      for (const [offset, batch] of batches.entries()) await log.append(batch.slice(), offset, 1, level)
      await expectLog(log, batches)
      for (const [offset, batch] of batches.entries()) {
        expect((await log.read(offset, 1)).length).toBe(batch.length)
      }
    },
  },
  {
    name: 'takes a view into a larger buffer',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batch = sampleBatch({ baseOffset: 0 })
      const larger = new Uint8Array(batch.length + 100).fill(0xaa)
      larger.set(batch, 50)
      await log.append(larger.subarray(50, 50 + batch.length), 0, 1, level)
      await expectLog(log, [batch])
    },
  },
  {
    name: 'takes batches of no and of one payload byte',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = [
        await appendOne(log, level, { payloadBytes: 0 }),
        await appendOne(log, level, { payloadBytes: 1 }),
      ]
      await expectLog(log, batches)
    },
  },
  {
    name: 'takes a batch of 16 MiB between small ones, in segments smaller than it',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = [await appendOne(log, level)]
      const large = batchOfSize(16 * MIB, log.endOffset)
      await log.append(large, log.endOffset, 1, level)
      batches.push(large, await appendOne(log, level))
      await expectLog(log, batches)
    },
  },
  {
    name: 'keeps logs apart: partitions of one topic, and topics',
    async run({ subject }) {
      await subject.start()
      const level = subject.supports.durability[0]
      const ids = [
        logA,
        { topicId: topicA, partition: 1 },
        { topicId: topicA, partition: 10 },
        { topicId: topicB, partition: 0 },
      ]
      const logs = await Promise.all(ids.map((id) => subject.openLog(id, largeSegments)))
      const expected: Uint8Array[][] = ids.map(() => [])
      for (let round = 0; round < 10; round++) {
        for (let i = 0; i < logs.length; i++) {
          if ((round + i) % 3 === 0) continue
          expected[i].push(await appendOne(logs[i], level, { seed: round * 10 + i }))
        }
      }
      for (let i = 0; i < logs.length; i++) await expectLog(logs[i], expected[i])
    },
  },
  {
    name: 'refuses appends when it is full, goes on reading, and takes appends again when there is room',
    async run(context) {
      expect(context.bounded, 'the setup gives no bounded(): declare this case as a known gap').toBeDefined()
      const bytesMax = 512 * 1024
      const store = (await context.bounded?.(bytesMax)) as LogStore
      const level = store.supports.durability.at(-1) ?? 'memory'
      const other = await store.openLog({ topicId: topicB, partition: 0 }, { segmentBytes: 64 * 1024 })
      await appendMany(other, level, 8, { payloadBytes: 4096 })
      const log = await store.openLog(logA, { segmentBytes: 64 * 1024 })
      const batches: Uint8Array[] = []
      let refusal: unknown
      while (refusal === undefined) {
        expect(batches.length * 8192, 'the store must be full by now').toBeLessThan(bytesMax * 4)
        const batch = sampleBatch({ baseOffset: log.endOffset, payloadBytes: 8192 })
        try {
          await log.append(batch, log.endOffset, 1, level)
          batches.push(batch)
        } catch (error) {
          refusal = error
        }
      }
      expect(isRatatoskrError(refusal, 'RTK_STORE_FULL'), `expected RTK_STORE_FULL, got ${refusal}`).toBe(
        true,
      )
      await expectLog(log, batches)
      await expectCode(
        () =>
          log.append(sampleBatch({ baseOffset: log.endOffset, payloadBytes: 8192 }), log.endOffset, 1, level),
        'RTK_STORE_FULL',
      )
      await expectLog(log, batches)
      expect((await readAll(other)).length).toBe(8)
      await store.deleteLog({ topicId: topicB, partition: 0 })
      batches.push(await appendOne(log, level, { payloadBytes: 8192 }))
      await expectLog(log, batches)
    },
  },
]

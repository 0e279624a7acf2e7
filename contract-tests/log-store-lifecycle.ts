/** Cases of the log store suite: starting, stopping, opening, closing, deleting. */
import type { LogId, PartitionLog } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { sampleBatch } from './batches.ts'
import {
  appendAtOnce,
  appendMany,
  appendOne,
  collect,
  expectBatches,
  expectLog,
  idText,
  type LogStoreCase,
  later,
  logA,
  openFirst,
  readAll,
  smallSegments,
  topicA,
  topicB,
} from './log-store-context.ts'
import { expectCode } from './suite.ts'

/** Expects that every method of a log is refused. */
async function expectClosed(log: PartitionLog): Promise<void> {
  const end = log.endOffset
  await expectCode(() => log.append(sampleBatch({ baseOffset: end }), end, 1, 'memory'), 'RTK_CLOSED')
  await expectCode(() => log.append(sampleBatch({ baseOffset: end + 5 }), end + 5, 1, 'memory'), 'RTK_CLOSED')
  await expectCode(() => log.read(0, 100), 'RTK_CLOSED')
  await expectCode(() => log.offsetForTime(0), 'RTK_CLOSED', 'RTK_NOT_SUPPORTED')
  await expectCode(() => log.truncateBefore(0), 'RTK_CLOSED')
  await expectCode(() => log.truncateAfter(0), 'RTK_CLOSED', 'RTK_NOT_SUPPORTED')
  await log.close()
}

export const lifecycleCases: readonly LogStoreCase[] = [
  {
    name: 'says what it supports in a frozen object, with at least one level, weakest first',
    async run({ subject }) {
      const levels = ['memory', 'os', 'interval', 'fsync', 'quorum']
      const places = subject.supports.durability.map((level) => levels.indexOf(level))
      expect(Object.isFrozen(subject.supports)).toBe(true)
      expect(places.length).toBeGreaterThan(0)
      expect(places).toEqual([...places].sort((a, b) => a - b))
      expect(places).not.toContain(-1)
      expect(subject.name).not.toBe('')
    },
  },
  {
    name: 'refuses everything before it is started',
    async run({ subject }) {
      await expectCode(() => subject.openLog(logA, smallSegments), 'RTK_CLOSED')
      await expectCode(() => collect(subject.listLogs()), 'RTK_CLOSED')
      await expectCode(() => subject.deleteLog(logA), 'RTK_CLOSED')
      await subject.stop()
    },
  },
  {
    name: 'starts and stops twice, and starts again after a stop',
    async run({ subject }) {
      await subject.start()
      await subject.start()
      const log = await subject.openLog(logA, smallSegments)
      await appendMany(log, subject.supports.durability[0], 3)
      await subject.stop()
      await subject.stop()
      await subject.start()
      const again = await subject.openLog(logA, smallSegments)
      await appendOne(again, subject.supports.durability[0])
      await subject.stop()
    },
  },
  {
    name: 'refuses everything after it is stopped, on the store and on its logs',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      await appendMany(log, level, 3)
      await store.stop()
      await expectCode(() => store.openLog(logA, smallSegments), 'RTK_CLOSED')
      await expectCode(() => collect(store.listLogs()), 'RTK_CLOSED')
      await expectCode(() => store.deleteLog(logA), 'RTK_CLOSED')
      await expectClosed(log)
    },
  },
  {
    name: 'refuses everything on a closed log, and closes twice',
    async run(context) {
      const { log, level } = await openFirst(context)
      await appendMany(log, level, 3)
      await log.close()
      await expectClosed(log)
    },
  },
  {
    name: 'settles what is in flight before it closes a log, and keeps it',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const { batches, settled } = appendAtOnce(log, level, 30)
      let settledCount = 0
      for (const promise of settled) void later(promise.then(() => settledCount++))
      await log.close()
      // One turn, in which no I/O ends: promises that were settled may still have to be told.
      await new Promise((resolve) => setImmediate(resolve))
      expect(settledCount).toBe(batches.length)
      const again = await store.openLog(logA, smallSegments)
      await expectLog(again, batches)
    },
  },
  {
    name: 'settles what is in flight before it stops',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const { settled } = appendAtOnce(log, level, 30)
      const outcomes = Promise.allSettled(settled)
      await store.stop()
      expect((await outcomes).map((outcome) => outcome.status)).toEqual(settled.map(() => 'fulfilled'))
    },
  },
  {
    name: 'reads that are under way when the log is closed give right bytes or RTK_CLOSED',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 20)
      const reading = Array.from({ length: 10 }, () => later(log.read(0, 1)))
      await log.close()
      for (const outcome of await Promise.allSettled(reading)) {
        if (outcome.status === 'fulfilled') expectBatches([outcome.value], [batches[0]])
        else await expectCode(() => Promise.reject(outcome.reason), 'RTK_CLOSED')
      }
    },
  },
  {
    name: 'opens a log once: opening it again is refused until it is closed',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      await expectCode(() => store.openLog(logA, smallSegments), 'RTK_INTERNAL')
      const batches = await appendMany(log, level, 3)
      await log.close()
      const again = await store.openLog(logA, smallSegments)
      await expectLog(again, batches)
      await expectClosed(log)
      batches.push(await appendOne(again, level))
      await expectLog(again, batches)
    },
  },
  {
    name: 'of two calls that open a log at the same time, one is refused',
    async run({ subject }) {
      await subject.start()
      const outcomes = await Promise.allSettled([
        subject.openLog(logA, smallSegments),
        subject.openLog(logA, smallSegments),
      ])
      const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
      expect(refused.length).toBe(1)
      await expectCode(() => Promise.reject(refused[0].reason), 'RTK_INTERNAL')
    },
  },
  {
    name: 'lists every log that exists, open or closed',
    async run({ subject }) {
      await subject.start()
      expect(await collect(subject.listLogs())).toEqual([])
      const ids: LogId[] = [
        logA,
        { topicId: topicA, partition: 1 },
        { topicId: topicA, partition: 65_535 },
        { topicId: topicB, partition: 7 },
      ]
      for (const id of ids) {
        const log = await subject.openLog(id, smallSegments)
        await appendOne(log, subject.supports.durability[0])
        if (id.partition === 1) await log.close()
      }
      const found = (await collect(subject.listLogs())).map(idText)
      expect(found.sort()).toEqual(ids.map(idText).sort())
    },
  },
  {
    name: 'deletes a log with all that was in it',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      await appendMany(log, level, 30)
      await log.close()
      await store.deleteLog(logA)
      expect(await collect(store.listLogs())).toEqual([])
      const again = await store.openLog(logA, smallSegments)
      await expectLog(again, [])
      const batches = await appendMany(again, level, 3, { seed: 50 })
      await expectLog(again, batches)
    },
  },
  {
    name: 'deletes a log that is open and being written: it is closed, and appends end one way or the other',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const { settled } = appendAtOnce(log, level, 30)
      const outcomes = Promise.allSettled(settled)
      await store.deleteLog(logA)
      for (const outcome of await outcomes) {
        if (outcome.status === 'rejected')
          await expectCode(() => Promise.reject(outcome.reason), 'RTK_CLOSED')
      }
      await expectClosed(log)
      expect(await collect(store.listLogs())).toEqual([])
      await expectLog(await store.openLog(logA, smallSegments), [])
    },
  },
  {
    name: 'deleting a log that does not exist is no error, and touches no other',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 3)
      await store.deleteLog({ topicId: topicA, partition: 1 })
      await store.deleteLog({ topicId: topicB, partition: 0 })
      await expectLog(log, batches)
    },
  },
  {
    name: 'refuses ids that are none, whatever they would lead to',
    async run({ subject }) {
      await subject.start()
      const bad: unknown[] = [
        { topicId: '../../../etc', partition: 0 },
        { topicId: '', partition: 0 },
        { topicId: topicA.toUpperCase(), partition: 0 },
        { topicId: `${topicA}/..`, partition: 0 },
        { topicId: `${topicA}\0`, partition: 0 },
        { topicId: topicA, partition: -1 },
        { topicId: topicA, partition: 1.5 },
        { topicId: topicA, partition: 65_536 },
        { topicId: topicA, partition: Number.NaN },
        { topicId: topicA, partition: '0' },
        { topicId: 7, partition: 0 },
      ]
      for (const id of bad) {
        await expectCode(() => subject.openLog(id as LogId, smallSegments), 'RTK_INVALID_ARGUMENT')
        await expectCode(() => subject.deleteLog(id as LogId), 'RTK_INVALID_ARGUMENT')
      }
      expect(await collect(subject.listLogs())).toEqual([])
    },
  },
  {
    name: 'keeps 200 logs open at once',
    async run({ subject }) {
      await subject.start()
      const level = subject.supports.durability[0]
      const logs = await Promise.all(
        Array.from({ length: 200 }, (_, partition) =>
          subject.openLog({ topicId: topicA, partition }, smallSegments),
        ),
      )
      const batches = await Promise.all(logs.map((log, seed) => appendOne(log, level, { seed })))
      for (let i = 0; i < logs.length; i++) expectBatches(await readAll(logs[i]), [batches[i]])
    },
  },
]

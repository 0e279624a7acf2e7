/** Cases of the log store suite: what is left after a stop, a crash and a torn write. */
import type { LogId, LogStore, PartitionLog } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { sampleTimestampMs } from './batches.ts'
import {
  appendAtOnce,
  appendMany,
  appendOne,
  collect,
  endOf,
  expectBatches,
  expectLog,
  type LogStoreCase,
  type LogStoreContext,
  largeSegments,
  logA,
  openFirst,
  readAll,
  smallSegments,
  strongest,
  topicB,
} from './log-store-context.ts'

const logB: LogId = { topicId: topicB, partition: 3 }

/** Opens the usual log after a restart; without `supports.reopen` it proves instead that nothing is left. */
async function openAgain(store: LogStore, segments = smallSegments): Promise<PartitionLog | undefined> {
  if (store.supports.reopen) return store.openLog(logA, segments)
  expect(await collect(store.listLogs())).toEqual([])
  await expectLog(await store.openLog(logA, segments), [])
  return undefined
}

export const recoveryCases: readonly LogStoreCase[] = [
  {
    name: 'after stop and start, logs are as they were (or gone, when reopening is not supported)',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 40)
      const other = await appendMany(await store.openLog(logB, largeSegments), level, 5)
      const again = await context.reopen()
      const reopened = await openAgain(again)
      if (reopened === undefined) return
      await expectLog(reopened, batches)
      expect(reopened.startOffset).toBe(0)
      await expectLog(await again.openLog(logB, largeSegments), other)
      expect((await collect(again.listLogs())).length).toBe(2)
    },
  },
  {
    name: 'goes on where it was, over several restarts and with other segment sizes',
    async run(context) {
      let { log } = await openFirst(context)
      const level = strongest(context.subject)
      const batches: Uint8Array[] = []
      for (let round = 0; round < 4; round++) {
        batches.push(...(await appendMany(log, level, 7 + round)))
        const reopened = await openAgain(
          await context.reopen(),
          round % 2 === 0 ? largeSegments : smallSegments,
        )
        if (reopened === undefined) return
        log = reopened
        await expectLog(log, batches)
      }
    },
  },
  {
    name: 'after a crash, all that had settled is there, and the log goes on',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 40)
      const reopened = await openAgain(await context.crash())
      if (reopened === undefined) return
      await expectLog(reopened, batches)
      batches.push(...(await appendMany(reopened, level, 5)))
      await expectLog(reopened, batches)
    },
  },
  {
    name: 'at every level that survives the process, what had settled before a crash is there',
    async run(context) {
      const { store, log } = await openFirst(context)
      const levels = store.supports.durability.filter((level) => level !== 'memory')
      const batches: Uint8Array[] = []
      for (const level of levels) batches.push(...(await appendMany(log, level, 4)))
      const reopened = await openAgain(await context.crash())
      if (reopened !== undefined) await expectLog(reopened, batches)
    },
  },
  {
    name: 'after a crash among appends in flight, what had settled is there and nothing else was made up',
    async run(context) {
      const { log, level } = await openFirst(context)
      const first = await appendMany(log, level, 10)
      const { batches, settled } = appendAtOnce(log, level, 30)
      void Promise.allSettled(settled)
      await settled[4]
      const stable = log.stableOffset
      const reopened = await openAgain(await context.crash())
      if (reopened === undefined) return
      expect(reopened.endOffset).toBeGreaterThanOrEqual(stable)
      const all = [...first, ...batches]
      const found = await readAll(reopened)
      expectBatches(found, all.slice(0, found.length))
      found.push(await appendOne(reopened, level, { seed: 4711 }))
      await expectLog(reopened, found)
    },
  },
  {
    name: 'a torn last batch is cut off, and the log goes on before it',
    async run(context) {
      const { store, log, level } = await openFirst(context, largeSegments)
      const batches = await appendMany(log, level, 12, { payloadBytes: 100 })
      if (!store.supports.reopen) {
        await openAgain(await context.crash(), largeSegments)
        return
      }
      const tear = tearOf(context)
      const kept = batches.slice(0, -1)
      const torn = await (await tear(logA)).openLog(logA, largeSegments)
      await expectLog(torn, kept)
      kept.push(await appendOne(torn, level, { seed: 31, payloadBytes: 250 }))
      await expectLog(torn, kept)
      const again = await (await context.reopen()).openLog(logA, largeSegments)
      await expectLog(again, kept)
    },
  },
  {
    name: 'a log whose only batch is torn is empty',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      await appendOne(log, level, { payloadBytes: 100 })
      if (!store.supports.reopen) {
        await openAgain(await context.crash())
        return
      }
      const torn = await (await tearOf(context)(logA)).openLog(logA, smallSegments)
      await expectLog(torn, [])
      await expectLog(torn, [await appendOne(torn, level)])
    },
  },
  {
    name: 'a deleted log does not come back',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      await appendMany(log, level, 20)
      await store.deleteLog(logA)
      expect(await collect((await context.crash()).listLogs())).toEqual([])
      expect(await collect((await context.reopen()).listLogs())).toEqual([])
    },
  },
  {
    name: 'what was let go of and cut off stays so after a restart, and an emptied log keeps its offset',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 60)
      const start = await log.truncateBefore(endOf(batches.slice(0, 30)))
      if (store.supports.truncateAfter) await log.truncateAfter(endOf(batches.slice(0, 45)))
      const end = log.endOffset
      let again = await context.reopen()
      let reopened = await openAgain(again)
      if (reopened === undefined) return
      expect({ start: reopened.startOffset, end: reopened.endOffset }).toEqual({ start, end })
      expectBatches(
        await readAll(reopened),
        batches.filter((batch) => endOf([batch]) > start && endOf([batch]) <= end),
      )
      if (!again.supports.truncateAfter) return
      await reopened.truncateAfter(start)
      again = await context.reopen()
      reopened = await again.openLog(logA, smallSegments)
      expect({ start: reopened.startOffset, end: reopened.endOffset }).toEqual({ start, end: start })
    },
  },
  {
    name: 'finds times after a restart',
    async run(context) {
      const { log, level } = await openFirst(context)
      for (let i = 0; i < 30; i++) {
        await appendOne(log, level, { payloadBytes: 150, timestampMs: sampleTimestampMs + i * 10 })
      }
      const again = await context.reopen()
      const reopened = await openAgain(again)
      if (reopened === undefined || !again.supports.timeIndex) return
      for (let i = 0; i < 30; i++) {
        expect(await reopened.offsetForTime(sampleTimestampMs + i * 10 - 3)).toBe(i)
      }
      expect(await reopened.offsetForTime(sampleTimestampMs + 1000)).toBe(30)
    },
  },
]

/** The setup's way to tear a batch; a store that keeps data and gives none declares the case as a known gap. */
function tearOf(context: LogStoreContext): (id: LogId) => Promise<LogStore> {
  const tear = context.tearLastBatch
  if (tear === undefined) {
    expect.fail('the setup gives no tearLastBatch(): declare this case as a known gap')
  }
  return (id) => tear.call(context, id)
}

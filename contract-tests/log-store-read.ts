/** Cases of the log store suite: reading and seeking. */
import { expect } from 'vitest'
import { sampleBatch, sampleTimestampMs } from './batches.ts'
import {
  appendAtOnce,
  appendMany,
  appendOne,
  endOf,
  expectBatches,
  expectBytes,
  expectLog,
  type LogStoreCase,
  largeSegments,
  later,
  logA,
  openFirst,
  readAll,
  sizeOf,
  smallSegments,
  split,
} from './log-store-context.ts'
import { expectCode } from './suite.ts'

export const readCases: readonly LogStoreCase[] = [
  {
    name: 'gives nothing of an append before it has settled',
    async run(context) {
      const { log, level } = await openFirst(context)
      await appendMany(log, level, 3)
      const { settled } = appendAtOnce(log, level, 30)
      let open = true
      const all = later(
        Promise.all(settled).finally(() => {
          open = false
        }),
      )
      for (let reads = 0; open || reads < 3; reads++) {
        // A read that is answered at once must not keep the writes from getting on.
        await new Promise((resolve) => setImmediate(resolve))
        const stable = log.stableOffset
        expect((await log.read(stable, 1 << 20)).length === 0 || log.stableOffset > stable).toBe(true)
        const before = log.stableOffset
        const bytes = await log.read(0, 1 << 20)
        // Reading may take a while, so that more has settled by the time it is done; more than that it cannot know of.
        expect(endOf(split(bytes))).toBeLessThanOrEqual(Math.max(before, log.stableOffset))
      }
      await all
    },
  },
  {
    name: 'a read begun before an append settles never shows it as unsettled',
    async run(context) {
      const { log, level } = await openFirst(context, largeSegments)
      await appendMany(log, level, 2)
      const stable = log.stableOffset
      const pending = later(log.append(sampleBatch({ baseOffset: log.endOffset }), log.endOffset, 1, level))
      if (log.stableOffset === stable) {
        const found = log.read(0, 1 << 20)
        if (found instanceof Uint8Array) expect(endOf(split(found))).toBe(stable)
        else await found
        const atEnd = log.read(stable, 1 << 20)
        if (atEnd instanceof Uint8Array) expect(atEnd.length).toBe(0)
        else await atEnd
      }
      await pending
      expect(endOf(await readAll(log))).toBe(log.endOffset)
    },
  },
  {
    name: 'gives nothing at the stable offset and refuses offsets outside of the log',
    async run(context) {
      const { log, level } = await openFirst(context)
      await appendMany(log, level, 4)
      const end = log.endOffset
      expect((await log.read(end, 1024)).length).toBe(0)
      for (const offset of [end + 1, end + 1_000_000, -1, Number.NaN]) {
        await expectCode(() => log.read(offset, 1024), 'RTK_OFFSET_OUT_OF_RANGE')
      }
    },
  },
  {
    name: 'begins with the batch that holds the offset, for every offset',
    async run(context) {
      for (const segments of [smallSegments, largeSegments]) {
        const store = context.subject
        await store.start()
        const id = { ...logA, partition: segments === smallSegments ? 1 : 2 }
        const log = await store.openLog(id, segments)
        const batches: Uint8Array[] = []
        for (let i = 0; i < 40; i++) {
          batches.push(
            await appendOne(log, store.supports.durability[0], { count: 1 + (i % 5), payloadBytes: 70 }),
          )
        }
        for (const batch of batches) {
          const end = endOf([batch])
          const base = batch === batches[0] ? 0 : endOf([batches[batches.indexOf(batch) - 1]])
          for (let offset = base; offset < end; offset++) {
            const found = await log.read(offset, 1)
            expectBytes(found, batch, `read at ${offset}`)
          }
        }
      }
    },
  },
  {
    name: 'gives at least one batch, and more only while they fit',
    async run(context) {
      const { log, level } = await openFirst(context, largeSegments)
      const batches = await appendMany(log, level, 50)
      for (const bytesMax of [0, 1, 90, 100, 200, 333, 1_000, 4_096, 100_000]) {
        let offset = 0
        while (offset < log.stableOffset) {
          const found = split(await log.read(offset, bytesMax))
          expect(found.length).toBeGreaterThanOrEqual(1)
          if (found.length > 1) expect(sizeOf(found)).toBeLessThanOrEqual(bytesMax)
          const place = batches.findIndex((batch) => endOf([batch]) > offset)
          expectBatches(found, batches.slice(place, place + found.length))
          offset = endOf(found)
        }
        expect(offset).toBe(log.endOffset)
      }
    },
  },
  {
    name: 'gives many batches in one read when they fit',
    async run(context) {
      const { log, level } = await openFirst(context, largeSegments)
      await appendMany(log, level, 50)
      let reads = 0
      for (let offset = 0; offset < log.stableOffset; reads++) {
        offset = endOf(split(await log.read(offset, 1 << 20)))
      }
      expect(reads).toBeLessThan(10)
    },
  },
  {
    name: 'gives a batch larger than the bound whole',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = [await appendOne(log, level), await appendOne(log, level, { payloadBytes: 300_000 })]
      expectBytes(await log.read(1, 10), batches[1], 'read of a large batch')
    },
  },
  {
    name: 'gives plain Uint8Arrays, whose slice is a copy as that of a Buffer is not',
    async run(context) {
      const { log, level } = await openFirst(context)
      await appendMany(log, level, 40)
      for (const bytesMax of [1, 1 << 20]) {
        for (let offset = 0; offset < log.stableOffset; offset++) {
          expect((await log.read(offset, bytesMax)).constructor).toBe(Uint8Array)
        }
      }
      expect((await log.read(log.stableOffset, 1)).constructor).toBe(Uint8Array)
    },
  },
  {
    name: 'answers several readers at once',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 60)
      const all = await Promise.all(Array.from({ length: 20 }, (_, i) => readAll(log, 0, 50 + i * 40)))
      for (const found of all) expectBatches(found, batches)
    },
  },
  {
    name: 'what a read gave stays as it is while the log is appended to, cut, deleted and its store stopped',
    async run(context) {
      const { store, log, level } = await openFirst(context, largeSegments)
      const batches = await appendMany(log, level, 20)
      const held = await log.read(0, 1 << 20)
      const copy = new Uint8Array(held)
      await appendMany(log, level, 20, { seed: 5 })
      expectBytes(held, copy, 'after appends')
      if (store.supports.truncateAfter) {
        await log.truncateAfter(endOf(batches.slice(0, 5)))
        await appendMany(log, level, 40, { seed: 6 })
        expectBytes(held, copy, 'after truncateAfter and appends')
      }
      await log.truncateBefore(log.endOffset)
      await store.deleteLog(logA)
      const again = await store.openLog(logA, largeSegments)
      await appendMany(again, level, 40, { seed: 7 })
      expectBytes(held, copy, 'after the log was deleted and made again')
      await store.stop()
      expectBytes(held, copy, 'after the store was stopped')
    },
  },
  {
    name: 'finds the first batch at or after a time',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const times = [10, 20, 20, 5, 30, 30, 70, 60, 80].map((step) => sampleTimestampMs + step)
      for (const timestampMs of times) await appendOne(log, level, { timestampMs, payloadBytes: 200 })
      if (!store.supports.timeIndex) {
        await expectCode(() => log.offsetForTime(times[0]), 'RTK_NOT_SUPPORTED')
        return
      }
      const expected = (time: number): number => {
        const place = times.findIndex((timestampMs) => timestampMs >= time)
        return place === -1 ? log.stableOffset : place
      }
      for (let step = 0; step <= 90; step++) {
        const time = sampleTimestampMs + step
        expect(await log.offsetForTime(time), `offset for time +${step}`).toBe(expected(time))
      }
      expect(await log.offsetForTime(0)).toBe(0)
      expect(await log.offsetForTime(Number.MAX_SAFE_INTEGER)).toBe(log.stableOffset)
    },
  },
  {
    name: 'finds times among many batches of one segment, and gives the first offset of a batch',
    async run(context) {
      const { store, log, level } = await openFirst(context, largeSegments)
      const bases: number[] = []
      for (let i = 0; i < 150; i++) {
        bases.push(log.endOffset)
        await appendOne(log, level, { count: 3, payloadBytes: 60, timestampMs: sampleTimestampMs + i * 10 })
      }
      if (!store.supports.timeIndex) {
        await expectCode(() => log.offsetForTime(sampleTimestampMs), 'RTK_NOT_SUPPORTED')
        return
      }
      for (let i = 0; i < 150; i++) {
        expect(await log.offsetForTime(sampleTimestampMs + i * 10)).toBe(bases[i])
        expect(await log.offsetForTime(sampleTimestampMs + i * 10 - 5)).toBe(bases[i])
      }
    },
  },
  {
    name: 'an empty log has no time',
    async run(context) {
      const { store, log } = await openFirst(context)
      if (store.supports.timeIndex) expect(await log.offsetForTime(sampleTimestampMs)).toBe(0)
      else await expectCode(() => log.offsetForTime(sampleTimestampMs), 'RTK_NOT_SUPPORTED')
      await expectLog(log, [])
    },
  },
]

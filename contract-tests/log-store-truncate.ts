/** Cases of the log store suite: letting go of the oldest and cutting off the newest. */
import { BatchMemory, giveBackBytes } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { sampleBatch } from './batches.ts'
import {
  appendMany,
  appendOne,
  endOf,
  expectBatches,
  expectBytes,
  expectLog,
  type LogStoreCase,
  largeSegments,
  logA,
  openFirst,
  readAll,
  sizeOf,
  smallSegments,
} from './log-store-context.ts'
import { expectCode } from './suite.ts'

export const truncateCases: readonly LogStoreCase[] = [
  {
    name: 'truncateBefore lets go of whole segments below the offset, and of nothing else',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 60)
      const target = endOf(batches.slice(0, 30))
      const start = await log.truncateBefore(target)
      expect(start).toBe(log.startOffset)
      expect(start, 'segments of 1,000 bytes lie below the offset').toBeGreaterThan(0)
      expect(start).toBeLessThanOrEqual(target)
      const left = batches.filter((batch) => endOf([batch]) > start)
      expectBatches(await readAll(log), left)
      expect(log.sizeBytes).toBe(sizeOf(left))
      expect(log.endOffset).toBe(endOf(batches))
      await expectCode(() => log.read(start - 1, 100), 'RTK_OFFSET_OUT_OF_RANGE')
      await expectCode(() => log.read(0, 100), 'RTK_OFFSET_OUT_OF_RANGE')
    },
  },
  {
    name: 'truncateBefore frees nearly all when asked for all, and never what is being written',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 60)
      const start = await log.truncateBefore(log.endOffset)
      expect(start).toBeLessThan(log.endOffset)
      expect(log.sizeBytes).toBeLessThanOrEqual(smallSegments.segmentBytes)
      batches.push(...(await appendMany(log, level, 3)))
      expectBatches(
        await readAll(log),
        batches.filter((batch) => endOf([batch]) > start),
      )
    },
  },
  {
    name: 'what was read stays as it is while memory of batches is used again: until it is given back, or for ever',
    async run(context) {
      const { log, level } = await openFirst(context)
      const allocate = (bytes: number) => new ArrayBuffer(bytes)
      const memory = new BatchMemory({ allocate, freeBytesMax: 1 << 24, checked: true })
      const held: { readonly bytes: Uint8Array; readonly copy: Uint8Array; readonly lent: boolean }[] = []
      const publishAndRead = async (rounds: number): Promise<void> => {
        for (let i = 0; i < rounds; i++) {
          const built = sampleBatch({ baseOffset: log.endOffset, payloadBytes: 70_000 })
          const batch = memory.take(built.length)
          batch.set(built)
          await log.append(batch, log.endOffset, 1, level)
          giveBackBytes(batch)
          if (i % 3 === 0) continue // nobody reads it
          const lent = i % 3 === 1
          const bytes = await log.read(log.endOffset - 1, 1, lent)
          expectBytes(bytes, built, 'what was appended')
          held.push({ bytes, copy: built, lent })
        }
        await log.truncateBefore(log.endOffset)
      }
      for (let round = 0; round < 3; round++) {
        await publishAndRead(6)
        for (const { bytes, copy } of held) expectBytes(bytes, copy, 'what is held')
        const lent = held.findIndex((one) => one.lent)
        for (const { bytes } of held.splice(lent, 1)) giveBackBytes(bytes)
      }
      await publishAndRead(6)
      for (const { bytes, copy } of held) expectBytes(bytes, copy, 'what is held')
    },
  },
  {
    name: 'truncateBefore at or below the start changes nothing',
    async run(context) {
      const { log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 30)
      expect(await log.truncateBefore(0)).toBe(0)
      await expectLog(log, batches)
      const start = await log.truncateBefore(endOf(batches.slice(0, 20)))
      expect(await log.truncateBefore(0)).toBe(start)
      expect(await log.truncateBefore(start)).toBe(start)
      expect(log.startOffset).toBe(start)
    },
  },
  {
    name: 'offsets for times do not fall before the start',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      await appendMany(log, level, 60)
      const start = await log.truncateBefore(log.endOffset)
      if (store.supports.timeIndex) expect(await log.offsetForTime(0)).toBe(start)
      else await expectCode(() => log.offsetForTime(0), 'RTK_NOT_SUPPORTED')
    },
  },
  {
    name: 'truncateAfter cuts the log, and what follows is what is appended next',
    async run(context) {
      for (const segments of [smallSegments, largeSegments]) {
        await context.subject.start()
        const id = { ...logA, partition: segments === smallSegments ? 1 : 2 }
        const log = await context.subject.openLog(id, segments)
        const level = context.subject.supports.durability[0]
        const batches = await appendMany(log, level, 40)
        const kept = batches.slice(0, 17)
        if (!context.subject.supports.truncateAfter) {
          await expectCode(() => log.truncateAfter(endOf(kept)), 'RTK_NOT_SUPPORTED')
          await expectLog(log, batches)
          continue
        }
        await log.truncateAfter(endOf(kept))
        await expectLog(log, kept)
        await expectCode(() => log.read(endOf(kept) + 1, 100), 'RTK_OFFSET_OUT_OF_RANGE')
        kept.push(...(await appendMany(log, level, 25, { seed: 1234, payloadBytes: 33 })))
        await expectLog(log, kept)
        if (context.subject.supports.timeIndex) expect(await log.offsetForTime(0)).toBe(0)
      }
    },
  },
  {
    name: 'truncateAfter at the end changes nothing, at the start leaves an empty log that keeps its offset',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 30)
      if (!store.supports.truncateAfter) {
        await expectCode(() => log.truncateAfter(log.endOffset), 'RTK_NOT_SUPPORTED')
        return
      }
      await log.truncateAfter(log.endOffset)
      await expectLog(log, batches)
      const start = await log.truncateBefore(endOf(batches.slice(0, 15)))
      await log.truncateAfter(start)
      const { startOffset, stableOffset, endOffset, sizeBytes } = log
      expect({ startOffset, stableOffset, endOffset, sizeBytes }).toEqual({
        startOffset: start,
        stableOffset: start,
        endOffset: start,
        sizeBytes: 0,
      })
      const batch = await appendOne(log, level)
      expectBatches(await readAll(log), [batch])
    },
  },
  {
    name: 'truncateAfter refuses offsets inside a batch and outside of the log, and changes nothing then',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const batches = [await appendOne(log, level, { count: 4 }), await appendOne(log, level, { count: 4 })]
      const codes = store.supports.truncateAfter
        ? { inside: 'RTK_INVALID_ARGUMENT', outside: 'RTK_OFFSET_OUT_OF_RANGE' }
        : { inside: 'RTK_NOT_SUPPORTED', outside: 'RTK_NOT_SUPPORTED' }
      await expectCode(() => log.truncateAfter(2), codes.inside)
      await expectCode(() => log.truncateAfter(5), codes.inside)
      await expectCode(() => log.truncateAfter(9), codes.outside)
      await expectCode(() => log.truncateAfter(-1), codes.outside)
      await expectLog(log, batches)
    },
  },
]

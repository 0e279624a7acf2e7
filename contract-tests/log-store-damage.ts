/**
 * Cases of the log store suite: stored bytes that are damaged, and what the store counts.
 *
 * The last batch is never the one that is damaged: nothing tells a damaged end from one that a crash has torn, and a torn
 * end is cut off.
 */
import { baseOffsetOf, isRatatoskrError, type LogStore, type PartitionLog } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { sampleBatch, sampleTimestampMs } from './batches.ts'
import {
  appendMany,
  appendOne,
  collect,
  endOf,
  expectBytes,
  expectLog,
  type LogStoreCase,
  type LogStoreContext,
  largeSegments,
  logA,
  openFirst,
  readAll,
  sizeOf,
  smallSegments,
  split,
} from './log-store-context.ts'
import { expectCode } from './suite.ts'

/** The setup's way to damage a batch; a store that keeps data and gives none declares the case as a known gap. */
function damageOf(context: LogStoreContext): (offset: number) => Promise<LogStore> {
  const damage = context.damageBatch
  if (damage === undefined) {
    expect.fail('the setup gives no damageBatch(): declare this case as a known gap')
  }
  return (offset) => damage.call(context, logA, offset)
}

const rangeOf = (batch: Uint8Array): { from: number; to: number } => ({
  from: baseOffsetOf(batch),
  to: endOf([batch]),
})

/**
 * Expects of a log that each batch is served as it was, but for those that are lost: their every offset is refused, with
 * the way to what comes after. Read from the beginning in large and in small reads, and from every single offset.
 */
async function expectDamage(
  log: PartitionLog,
  batches: readonly Uint8Array[],
  lost: ReadonlySet<Uint8Array>,
): Promise<void> {
  expect({ end: log.endOffset, stable: log.stableOffset }).toEqual({
    end: endOf(batches),
    stable: endOf(batches),
  })
  for (const bytesMax of [1 << 20, 1]) {
    let offset = log.startOffset
    while (offset < log.stableOffset) offset = await expectRead(log, offset, bytesMax, batches, lost)
  }
  for (const batch of batches) {
    const { from, to } = rangeOf(batch)
    for (let offset = Math.max(from, log.startOffset); offset < to; offset++) {
      await expectRead(log, offset, 1, batches, lost)
    }
  }
  expect(log.damaged).toEqual(
    batches.filter((batch) => lost.has(batch) && endOf([batch]) > log.startOffset).map(rangeOf),
  )
}

/** Expects of one read what is right for its offset. @returns where to read on */
async function expectRead(
  log: PartitionLog,
  offset: number,
  bytesMax: number,
  batches: readonly Uint8Array[],
  lost: ReadonlySet<Uint8Array>,
): Promise<number> {
  const place = batches.findIndex((batch) => endOf([batch]) > offset)
  if (lost.has(batches[place])) {
    const next = endOf([batches[place]])
    expect(await lossAt(log, offset, bytesMax)).toEqual({ offset, nextOffset: next })
    return next
  }
  const found = split(await log.read(offset, bytesMax))
  expect(found.length, `a read at ${offset} must give a batch`).toBeGreaterThan(0)
  for (const [i, batch] of found.entries()) {
    expect(lost.has(batches[place + i]), `a read at ${offset} must end before what is lost`).toBe(false)
    expectBytes(batch, batches[place + i], `batch ${place + i}, read at ${offset}`)
  }
  return endOf(found)
}

/** What the refusal of a read tells of its damage. */
async function lossAt(log: PartitionLog, offset: number, bytesMax: number): Promise<unknown> {
  try {
    await log.read(offset, bytesMax)
  } catch (error) {
    if (!isRatatoskrError(error, 'RTK_STORE_CORRUPT')) throw error
    return error.details
  }
  expect.fail(`a read at ${offset}, of a damaged batch, must be refused`)
}

export const damageCases: readonly LogStoreCase[] = [
  {
    name: 'a damaged batch in an old segment is refused by its offsets, and all others are served',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 40)
      await expectDamage(log, batches, new Set())
      if (!store.supports.reopen) return
      const again = await damageOf(context)(rangeOf(batches[11]).from)
      const damaged = await again.openLog(logA, smallSegments)
      await expectDamage(damaged, batches, new Set([batches[11]]))
    },
  },
  {
    name: 'a damaged batch in the segment that is written is refused by its offsets, and all others are served',
    async run(context) {
      const { store, log, level } = await openFirst(context, largeSegments)
      const batches = await appendMany(log, level, 30, { payloadBytes: 300 })
      await expectDamage(log, batches, new Set())
      if (!store.supports.reopen) return
      const again = await damageOf(context)(rangeOf(batches[8]).to - 1)
      const damaged = await again.openLog(logA, largeSegments)
      await expectDamage(damaged, batches, new Set([batches[8]]))
    },
  },
  {
    name: 'a damaged log goes on: appends, restarts, further damage and letting go',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 40)
      if (!store.supports.reopen) {
        expect(log.damaged).toEqual([])
        return
      }
      const lost = new Set<Uint8Array>()
      for (const place of [25, 4, 26]) {
        lost.add(batches[place])
        const again = await damageOf(context)(rangeOf(batches[place]).from)
        const damaged = await again.openLog(logA, smallSegments)
        batches.push(...(await appendMany(damaged, level, 3, { seed: 100 + place })))
        await expectLossAfter(damaged, batches, lost)
      }
      const reopened = await context.reopen()
      const last = await reopened.openLog(logA, smallSegments)
      await expectLossAfter(last, batches, lost)
      const start = await last.truncateBefore(rangeOf(batches[20]).from)
      expect(start, 'segments before the one of batch 20 are let go of').toBeGreaterThan(
        rangeOf(batches[4]).to,
      )
      await expectLossAfter(last, batches, lost)
      batches.push(await appendOne(last, level))
      await expectLossAfter(last, batches, lost)
      if (!reopened.supports.truncateAfter) return
      await last.truncateAfter(rangeOf(batches[24]).from)
      const kept = [...batches.slice(0, 24), await appendOne(last, level, { count: 20, seed: 7 })]
      await expectLossAfter(last, kept, new Set([batches[4]]))
    },
  },
  {
    name: 'times are found around a damaged batch',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const timeOf = (i: number): number => sampleTimestampMs + i * 10
      const batches: Uint8Array[] = []
      for (let i = 0; i < 30; i++) {
        batches.push(await appendOne(log, level, { payloadBytes: 150, timestampMs: timeOf(i) }))
      }
      if (!store.supports.reopen || !store.supports.timeIndex) {
        expect(log.damaged).toEqual([])
        return
      }
      const damaged = await (await damageOf(context)(13)).openLog(logA, smallSegments)
      for (let i = 0; i < 30; i++) {
        const found = await damaged.offsetForTime(timeOf(i) - 5)
        expect(i === 13 ? [13, 14] : [i], `offset for the time of batch ${i}`).toContain(found)
      }
      await expectDamage(damaged, batches, new Set([batches[13]]))
      expect(await damaged.offsetForTime(timeOf(30))).toBe(30)
    },
  },
]

/** As `expectDamage`, for ranges that may touch: `damaged` may hold those as one range or as several. */
async function expectLossAfter(
  log: PartitionLog,
  batches: readonly Uint8Array[],
  lost: ReadonlySet<Uint8Array>,
): Promise<void> {
  for (const batch of batches) {
    const { from, to } = rangeOf(batch)
    if (to <= log.startOffset) continue
    if (!lost.has(batch)) await expectRead(log, from, 1 << 20, batches, lost)
    else {
      const { nextOffset } = (await lossAt(log, from, 1)) as { nextOffset: number }
      const next = batches.find((other) => baseOffsetOf(other) >= to && !lost.has(other)) as Uint8Array
      expect([to, baseOffsetOf(next)]).toContain(nextOffset)
    }
  }
  const offsets = log.damaged.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i))
  const expected = batches
    .filter((batch) => lost.has(batch) && endOf([batch]) > log.startOffset)
    .flatMap((batch) => {
      const { from, to } = rangeOf(batch)
      return Array.from({ length: to - from }, (_, i) => from + i)
    })
  expect(offsets, 'offsets that are known to be lost, in order and each once').toEqual(expected)
}

export const counterCases: readonly LogStoreCase[] = [
  {
    name: 'counts appends that settled and their bytes, and no others',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const before = { ...numbersOf(store) }
      const batches = await appendMany(log, level, 25)
      await expectCode(() => log.append(sampleBatch({ baseOffset: 0 }), 0, 1, level), 'RTK_OFFSET_CONFLICT')
      const after = numbersOf(store)
      expect({
        appends: after.appends - before.appends,
        appendedBytes: after.appendedBytes - before.appendedBytes,
      }).toEqual({ appends: 25, appendedBytes: sizeOf(batches) })
      await readAll(log)
      expect(numbersOf(store).appends).toBe(after.appends)
    },
  },
  {
    name: 'counts each time that data is forced to the medium',
    async run(context) {
      const { store, log, level } = await openFirst(context, largeSegments)
      const before = numbersOf(store).syncs
      await appendMany(log, level, 10)
      const syncs = numbersOf(store).syncs - before
      // One after the other, none can share its sync with another.
      if (level === 'fsync') expect(syncs).toBeGreaterThanOrEqual(10)
      else if (level === 'memory') expect(syncs).toBe(0)
    },
  },
  {
    name: 'counts each read by where its answer came from, and what is held in memory',
    async run(context) {
      const { store, log, level } = await openFirst(context)
      const batches = await appendMany(log, level, 30)
      const before = numbersOf(store)
      expect(before.hotBytes).toBeLessThanOrEqual(sizeOf(batches))
      const offsets = [0, 5, 17, log.endOffset - 1]
      for (const offset of offsets) await log.read(offset, 1)
      const after = numbersOf(store)
      expect(after.hotReads + after.coldReads - before.hotReads - before.coldReads).toBe(offsets.length)
      await expectLog(log, batches)
      await store.deleteLog(logA)
      expect(numbersOf(store).hotBytes).toBe(0)
      expect(await collect(store.listLogs())).toEqual([])
    },
  },
]

/** The counters as they are now, each a whole number of at least 0. */
function numbersOf({ counters }: LogStore): LogStore['counters'] {
  const { appends, appendedBytes, syncs, hotReads, coldReads, hotBytes } = counters
  const now = { appends, appendedBytes, syncs, hotReads, coldReads, hotBytes }
  for (const [name, value] of Object.entries(now)) {
    expect(Number.isSafeInteger(value) && value >= 0, `${name} is ${value}`).toBe(true)
  }
  return now
}

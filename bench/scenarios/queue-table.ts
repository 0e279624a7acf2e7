/** `queue-table`: the lease table of a queue group on its own: leases and acknowledgements a second, and memory for each lease. */
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { encodingSteps } from '../../src/domain/queue/checkpoint-codec.ts'
import { LeaseTable } from '../../src/domain/queue/lease-table.ts'
import { Figures } from '../harness/figures.ts'
import type { Scenario } from '../harness/scenario.ts'

const admitted = 10_000
const roundMs = 300
const leaseMs = 30_000
const outstanding = 1_000_000

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

export const queueTable: Scenario = {
  name: 'queue-table',
  about: 'the leases of a queue group: messages leased and acknowledged a second, bytes for each lease',
  async run({ runs }) {
    const figures = new Figures()
    for (let run = 0; run < runs; run++) {
      figures.add('shared, runs of 100', '/s', rateOf(false, 100), { atLeast: 10_000_000 })
      figures.add('shared, single messages', '/s', rateOf(false, 1), { atLeast: 2_000_000 })
      figures.add('ordered, 1,000 keys, runs of 100', '/s', rateOf(true, 100))
      figures.add('ordered, 1,000 keys, single messages', '/s', rateOf(true, 1))
      figures.add('a lease, shared, 1 M single messages', 'bytes', await bytesOf(false), { atMost: 200 })
      figures.add('a lease, ordered, 1 M single messages and keys', 'bytes', await bytesOf(true), {
        atMost: 200,
      })
      const [wholeMs, longestMs] = checkpointMs()
      figures.add('checkpoint with 1 M leases, all of it', 'ms', wholeMs)
      figures.add('checkpoint with 1 M leases, longest step', 'ms', longestMs, { atMost: 10 })
    }
    return figures.report(this.name, 'none')
  },
}

function openTable(ordered: boolean): LeaseTable {
  const table = new LeaseTable({ ordered, epoch: 1, start: 0, retriesMax: 3, deliveryBoundStep: 2 ** 40 })
  table.stored(table.checkpoint())
  return table
}

/** Messages a second that are leased and acknowledged as runs of at most `size`, a thousand leases being out at a time. */
function rateOf(ordered: boolean, size: number): number {
  const table = openTable(ordered)
  const hashes = Int32Array.from({ length: admitted }, (_, i) => 1 + ((i * 7_919) % 1_000))
  const out: { lease: number; from: number; to: number }[] = []
  const beginMs = performance.now()
  let elapsedMs = 0
  for (; elapsedMs < roundMs; elapsedMs = performance.now() - beginMs) {
    table.admit(table.nextOffset + admitted, ordered ? hashes : undefined)
    for (;;) {
      const run = table.next(1, size, elapsedMs)
      if (run === undefined) break
      const { from, to } = run
      out.push({ lease: table.lease(from, to, 1, elapsedMs, leaseMs), from, to })
      if (out.length === 1_000) settleAll(table, out, elapsedMs)
    }
    settleAll(table, out, elapsedMs)
  }
  if (table.floor !== table.nextOffset) throw new Error('messages are left')
  return (table.floor * 1_000) / elapsedMs
}

function settleAll(
  table: LeaseTable,
  out: { lease: number; from: number; to: number }[],
  nowMs: number,
): void {
  for (const { lease, from, to } of out) table.settle('ack', lease, from, to, nowMs)
  out.length = 0
}

/** Growth of heap and buffers by a million messages that are each leased alone, for one of them. */
async function bytesOf(ordered: boolean): Promise<number> {
  const before = await usedBytes()
  const { table } = leasedTable(ordered)
  const bytes = ((await usedBytes()) - before) / outstanding
  if (table.leased !== outstanding) throw new Error('not all are leased')
  return bytes
}

/** Every sixteenth message is settled, so that there are as many runs as can be stored. */
function checkpointMs(): readonly [wholeMs: number, longestMs: number] {
  const { table, firstLease } = leasedTable(false)
  for (let offset = 1; offset < outstanding; offset += 16) {
    const lease = firstLease + offset
    if (table.settle('ack', lease, offset, offset + 1, 0).settled !== 1) throw new Error('it is not leased')
  }
  const steps = checkpointSteps(table)
  let wholeMs = 0
  let longestMs = 0
  for (let done = false; !done; ) {
    const beginMs = performance.now()
    done = steps.next().done === true
    const stepMs = performance.now() - beginMs
    wholeMs += stepMs
    longestMs = Math.max(longestMs, stepMs)
  }
  return [wholeMs, longestMs]
}

/** As the broker makes them. */
function* checkpointSteps(table: LeaseTable): Generator<void, Uint8Array, undefined> {
  const walk = table.beginCheckpoint()
  while (!walk.step(8_192)) yield
  return yield* encodingSteps(table.checkpoint(false, walk))
}

/** A table whose messages are all leased, each alone: their leases follow one another. */
function leasedTable(ordered: boolean): { readonly table: LeaseTable; readonly firstLease: number } {
  const table = openTable(ordered)
  let firstLease = 0
  for (let from = 0; from < outstanding; from += admitted) {
    table.admit(
      from + admitted,
      ordered ? Int32Array.from({ length: admitted }, (_, i) => from + i + 1) : undefined,
    )
    for (let offset = from; offset < from + admitted; offset++) {
      const lease = table.lease(offset, offset + 1, 1, from, leaseMs)
      if (offset === 0) firstLease = lease
    }
  }
  return { table, firstLease }
}

/** Buffers are freed some time after their owners were collected. */
async function usedBytes(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    collectGarbage()
    await setTimeout(50)
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

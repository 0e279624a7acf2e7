/** Random histories of a log against the plainest model of one: a list of batches. Both stores must agree with it. */
import fc from 'fast-check'
import type { LogStoreContext } from 'ratatoskr/contract-tests'
import { sampleBatch } from 'ratatoskr/contract-tests'
import type { Durability, LogStore, PartitionLog } from 'ratatoskr/ports'
import { nextOffsetOf } from 'ratatoskr/ports'
import { expect, it } from 'vitest'
import { rounds } from '../../../src/testing/rounds.ts'
import { memoryLogSetup } from '../../memory/testing/setups.ts'
import { diskLogSetup } from '../testing/setups.ts'

const id = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }

type Step =
  | { readonly kind: 'append'; readonly counts: readonly number[]; readonly payloadBytes: number }
  | { readonly kind: 'read'; readonly at: number; readonly bytesMax: number }
  | { readonly kind: 'time'; readonly at: number }
  | { readonly kind: 'truncateBefore'; readonly at: number }
  | { readonly kind: 'truncateAfter'; readonly at: number }
  | { readonly kind: 'close' }
  | { readonly kind: 'reopen' }
  | { readonly kind: 'crash' }

const place = fc.double({ min: 0, max: 1, noNaN: true })
const appendStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('append' as const),
  counts: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 12 }),
  // Some are so large that a store may keep them as they come instead of copying them.
  payloadBytes: fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 0, max: 120 }) },
    { weight: 1, arbitrary: fc.integer({ min: 33_000, max: 66_000 }) },
  ),
})
const readStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('read' as const),
  at: place,
  bytesMax: fc.integer({ min: 0, max: 3_000 }),
})
const otherStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant('time' as const), at: place }),
  fc.record({ kind: fc.constant('truncateBefore' as const), at: place }),
  fc.record({ kind: fc.constant('truncateAfter' as const), at: place }),
  fc.record({ kind: fc.constantFrom('close' as const, 'reopen' as const, 'crash' as const) }),
)
const history = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: appendStep },
    { weight: 4, arbitrary: readStep },
    { weight: 3, arbitrary: otherStep },
  ),
  { minLength: 1, maxLength: 30 },
)

/** A log and what must be in it. */
class Run {
  readonly #context: LogStoreContext
  readonly #segmentBytes: number
  #store: LogStore
  #log!: PartitionLog
  #batches: Uint8Array[] = []
  #seed = 0

  constructor(context: LogStoreContext, segmentBytes: number) {
    this.#context = context
    this.#segmentBytes = segmentBytes
    this.#store = context.subject
  }

  async start(): Promise<void> {
    await this.#store.start()
    await this.#open()
  }

  async step(step: Step): Promise<void> {
    if (step.kind === 'append') await this.#append(step.counts, step.payloadBytes)
    else if (step.kind === 'read') await this.#read(step.at, step.bytesMax)
    else if (step.kind === 'time') await this.#time(step.at)
    else if (step.kind === 'truncateBefore') await this.#truncateBefore(step.at)
    else if (step.kind === 'truncateAfter') await this.#truncateAfter(step.at)
    else await this.#restart(step.kind)
  }

  check(): void {
    const start = this.#batches.length === 0 ? this.#log.endOffset : base(this.#batches[0])
    expect(this.#log.startOffset).toBe(start)
    expect(this.#log.stableOffset).toBe(this.#log.endOffset)
    expect(this.#log.sizeBytes).toBe(this.#batches.reduce((sum, batch) => sum + batch.length, 0))
    if (this.#batches.length > 0)
      expect(this.#log.endOffset).toBe(nextOffsetOf(this.#batches.at(-1) as Uint8Array))
  }

  async #open(): Promise<void> {
    this.#log = await this.#store.openLog(id, { segmentBytes: this.#segmentBytes })
  }

  async #append(counts: readonly number[], payloadBytes: number): Promise<void> {
    const levels: readonly Durability[] = this.#store.supports.durability
    await Promise.all(
      counts.map((count, i) => {
        const baseOffset = this.#log.endOffset
        const seed = this.#seed++
        const batch = sampleBatch({
          baseOffset,
          count,
          payloadBytes,
          seed,
          timestampMs: 1_000 + ((seed * 7) % 40),
        })
        this.#batches.push(batch)
        return this.#log.append(batch, baseOffset, count, levels[i % levels.length])
      }),
    )
  }

  #offset(at: number): number {
    return this.#log.startOffset + Math.round(at * (this.#log.endOffset - this.#log.startOffset))
  }

  async #read(at: number, bytesMax: number): Promise<void> {
    const offset = this.#offset(at)
    const found = Buffer.from(await this.#log.read(offset, bytesMax))
    const from = this.#batches.findIndex((batch) => nextOffsetOf(batch) > offset)
    if (from === -1) {
      expect(found.length).toBe(0)
      return
    }
    const rest = Buffer.concat(this.#batches.slice(from))
    expect(found.equals(rest.subarray(0, found.length))).toBe(true)
    expect(found.length).toBeGreaterThanOrEqual(this.#batches[from].length)
    expect(found.length).toBeLessThanOrEqual(Math.max(bytesMax, this.#batches[from].length))
  }

  async #time(at: number): Promise<void> {
    const timestampMs = 1_000 + Math.round(at * 45)
    const hit = this.#batches.find((batch) => timestampOf(batch) >= timestampMs)
    const expected = hit === undefined ? this.#log.stableOffset : base(hit)
    expect(await this.#log.offsetForTime(timestampMs)).toBe(expected)
  }

  async #truncateBefore(at: number): Promise<void> {
    const offset = this.#offset(at)
    const start = await this.#log.truncateBefore(offset)
    expect(start).toBeLessThanOrEqual(offset)
    this.#batches = this.#batches.filter((batch) => base(batch) >= start)
  }

  async #truncateAfter(at: number): Promise<void> {
    const kept = this.#batches.slice(0, Math.round(at * this.#batches.length))
    const offset = kept.length === 0 ? this.#log.startOffset : nextOffsetOf(kept[kept.length - 1])
    await this.#log.truncateAfter(offset)
    this.#batches = kept
  }

  async #restart(kind: 'close' | 'reopen' | 'crash'): Promise<void> {
    if (kind === 'close') await this.#log.close()
    else this.#store = await this.#context[kind]()
    if (kind !== 'close' && !this.#store.supports.reopen) this.#batches = []
    await this.#open()
  }
}

const base = (batch: Uint8Array): number =>
  nextOffsetOf(batch) - (new DataView(batch.buffer).getInt32(23) + 1)
const timestampOf = (batch: Uint8Array): number => Number(new DataView(batch.buffer).getBigInt64(35))

function agrees(setup: () => Promise<LogStoreContext>, numRuns: number): Promise<void> {
  return fc.assert(
    fc.asyncProperty(history, fc.integer({ min: 100, max: 4_000 }), async (steps, segmentBytes) => {
      const context = await setup()
      try {
        const run = new Run(context, segmentBytes)
        await run.start()
        for (const step of steps) {
          await run.step(step)
          run.check()
        }
      } finally {
        await context.teardown()
      }
    }),
    { numRuns },
  )
}

it('memory agrees with a list of batches', () => agrees(memoryLogSetup, rounds(300, 100)), 60_000)
it('disk agrees with a list of batches', () => agrees(() => diskLogSetup(), rounds(60, 15)), 60_000)
it(
  'disk without a hot tail agrees with a list of batches',
  () => agrees(() => diskLogSetup({ hotBytesMax: 1, openFilesMax: 2 }), rounds(60, 15)),
  60_000,
)

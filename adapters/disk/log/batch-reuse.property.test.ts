/**
 * Whatever comes in whatever order, bytes that somebody holds stay as they are: those of lent reads until they are given back,
 * those of other reads for ever; while logs write, let go of batches, are cut, handed over and closed, and memory serves again.
 */
import { rm } from 'node:fs/promises'
import fc from 'fast-check'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import {
  BatchBuilder,
  BatchMemory,
  giveBackBytes,
  type LogId,
  type LogStore,
  type PartitionLog,
  type Storage,
  stampBatch,
} from 'ratatoskr/ports'
import { expect, it } from 'vitest'
import { diskStorage } from '../index.ts'
import { makeDirectory } from '../testing/setups.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const segmentBytes = 300_000
const platform = nodePlatform({ logger: silentLogger })

type Step =
  | { readonly do: 'append'; readonly bytes: number }
  | { readonly do: 'lend' | 'read' | 'giveBack' | 'truncateBefore' | 'truncateAfter'; readonly share: number }
  | { readonly do: 'settle' | 'openAgain' | 'trim' }

const share = fc.double({ min: 0, max: 1, noNaN: true })
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        do: fc.constant('append' as const),
        bytes: fc.constantFrom(70_000, 70_500, 95_000, 300),
      }),
    },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('lend' as const), share }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('read' as const), share }) },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('giveBack' as const), share }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('truncateBefore' as const), share }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('truncateAfter' as const), share }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constantFrom('settle' as const, 'settle' as const, 'openAgain' as const, 'trim' as const),
      }),
    },
  ),
  { minLength: 30, maxLength: 100 },
)

interface Held {
  readonly bytes: Uint8Array
  readonly copy: Uint8Array
}

/** A log, and what is held of it. */
class Run {
  readonly lent: Held[] = []
  readonly escaped: Held[] = []
  readonly memory: BatchMemory
  readonly #store: LogStore
  #log: PartitionLog
  readonly #appending: Promise<void>[] = []
  #seed = 0

  constructor(store: LogStore, log: PartitionLog, counts: { taken: number; made: number }) {
    this.#store = store
    this.#log = log
    this.counts = counts
    this.memory = new BatchMemory({
      allocate: (bytes) => {
        counts.made++
        return new ArrayBuffer(bytes)
      },
      freeBytesMax: 400_000,
      checked: true,
    })
  }

  readonly counts: { taken: number; made: number }

  async take(step: Step): Promise<void> {
    const log = this.#log
    if (step.do === 'append') this.#append(step.bytes)
    else if (step.do === 'lend') await this.#read(step.share, true)
    else if (step.do === 'read') await this.#read(step.share, false)
    else if (step.do === 'giveBack') {
      const [held] = this.lent.splice(Math.floor(step.share * this.lent.length), 1)
      if (held !== undefined) giveBackBytes(held.bytes)
    } else if (step.do === 'truncateBefore') await log.truncateBefore(this.#offsetAt(step.share))
    else if (step.do === 'truncateAfter') await log.truncateAfter(this.#offsetAt(step.share))
    else if (step.do === 'settle') await this.settled()
    else if (step.do === 'trim') this.memory.trim()
    else {
      await log.close()
      this.#log = await this.#store.openLog(id, { segmentBytes })
    }
    this.check()
  }

  check(): void {
    for (const { bytes, copy } of [...this.lent, ...this.escaped]) {
      if (Buffer.compare(bytes, copy) !== 0)
        throw new Error(`${copy.length} held bytes changed to ${bytes.length}`)
    }
  }

  async settled(): Promise<void> {
    await Promise.all(this.#appending.splice(0))
  }

  /** As a connection does: read into memory of its own, published, and given back when that has settled. */
  #append(payloadBytes: number): void {
    const log = this.#log
    const builder = new BatchBuilder({ checksum: platform.checksum })
    builder.add({ payload: new Uint8Array(payloadBytes).fill(++this.#seed), timestampMs: this.#seed })
    const built = builder.build()
    const batch = this.memory.take(built.length)
    this.counts.taken++
    batch.set(built)
    stampBatch(batch, log.endOffset, 0)
    const durability = this.#store.supports.durability[0]
    const done = log.append(batch, log.endOffset, 1, durability)
    this.#appending.push(Promise.resolve(done).then(() => giveBackBytes(batch)))
  }

  async #read(at: number, lent: boolean): Promise<void> {
    const { startOffset, stableOffset } = this.#log
    if (startOffset === stableOffset) return
    const offset = startOffset + Math.floor(at * (stableOffset - startOffset - 1))
    const bytes = await this.#log.read(offset, 200_000, lent)
    ;(lent ? this.lent : this.escaped).push({ bytes, copy: bytes.slice() })
  }

  /** Each batch has one record, so that each offset is the first of one. */
  #offsetAt(at: number): number {
    const { startOffset, stableOffset } = this.#log
    return startOffset + Math.floor(at * (stableOffset - startOffset))
  }
}

async function hold(storage: () => Promise<Storage>, numRuns: number): Promise<void> {
  const counts = { taken: 0, made: 0 }
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      const { logs: store } = (await storage()).open(platform)
      await store.start()
      const run = new Run(store, await store.openLog(id, { segmentBytes }), counts)
      for (const step of sequence) await run.take(step)
      await run.settled()
      await store.stop()
      run.check()
    }),
    { numRuns },
  )
  expect(counts.made).toBeLessThan(counts.taken * 0.93) // or nothing was tried
}

it('in the memory store', () => hold(async () => memoryStorage(), 150))

it('in the disk store, whose tail in memory is short', async () => {
  const directories: string[] = []
  try {
    await hold(async () => {
      const directory = await makeDirectory()
      directories.push(directory)
      return diskStorage({ directory, hotBytesMax: 250_000 })
    }, 25)
  } finally {
    for (const directory of directories) await rm(directory, { recursive: true, force: true })
  }
})

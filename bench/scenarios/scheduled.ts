/** `scheduled`: 100,000 messages that are due at the same moment, delivered to a subscriber while the loop stays free. */

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { recordsFrom, type Session } from 'ratatoskr/ports'
import { DueIndex } from '../../src/domain/schedule/due-index.ts'
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import type { Scenario } from '../harness/scenario.ts'

const messages = 100_000
const publishedAtOnce = 1_000
/** From the last publish to the moment when all are due. */
const leadMs = 1_000
/** What taking them may need. */
const takenMs = 8_000
const nanosecondsPerMs = 1e6
const indexed = 1_000_000
const creditBytes = 1024 ** 3
/** One millisecond, and one second: what is due within it. */
const spreads = [1, 1_000]

export const scheduled: Scenario = {
  name: 'scheduled',
  about:
    '100,000 messages due at the same moment: when the last is delivered, event-loop delay, bytes of the index',
  async run({ runs, payloadBytes, directory, progress }) {
    const figures = new Figures()
    for (let run = 1; run <= runs; run++) {
      for (const spreadMs of spreads) {
        await measure(figures, 'memory', await broker(memoryStorage()), payloadBytes, spreadMs)
        await inFolder(directory, async (path) =>
          measure(figures, 'disk', await broker(diskStorage({ directory: path })), payloadBytes, spreadMs),
        )
      }
      figures.add('index, 1 M messages', 'bytes', bytesOfIndex())
      progress(`run ${run} of ${runs} done`)
    }
    return figures.report(this.name, 'memory, disk')
  },
}

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

type Storage = NonNullable<Parameters<typeof createBroker>[0]>['storage']

async function broker(storage: Storage): Promise<EmbeddedBroker> {
  const logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => logger }
  const made = await createBroker({ storage, platform: { logger } })
  await made.start()
  return made
}

async function measure(
  figures: Figures,
  storage: string,
  made: EmbeddedBroker,
  payloadBytes: number,
  spreadMs: number,
): Promise<void> {
  const of = `${storage}, due within ${spreadMs} ms`
  const session = await made.facade.connect(
    { transport: 'embedded', address: 'embedded', local: true, encrypted: false },
    { kind: 'none' },
  )
  await session.createTopic('due')
  // Taking them takes a while: none may be due before the last is taken.
  const dueMs = Date.now() + takenMs
  const clock = performance.now()
  await publishAll(session, payloadBytes, dueMs, spreadMs)
  figures.add(`${of}: taken`, '/s', (messages * 1_000) / (performance.now() - clock))
  const { last } = await count(session)
  await setTimeout(Math.max(0, dueMs - leadMs - Date.now()))
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const lastMs = await last
  delay.disable()
  figures.add(`${of}: the last delivered after`, 'ms', lastMs - dueMs, { atMost: 2_000 })
  figures.add(`${of}: event-loop delay p99`, 'ms', delay.percentile(99) / nanosecondsPerMs, { atMost: 50 })
  figures.add(`${of}: event-loop delay at most`, 'ms', delay.max / nanosecondsPerMs)
  await session.close()
  await made.stop()
}

async function publishAll(
  session: Session,
  payloadBytes: number,
  dueMs: number,
  spreadMs: number,
): Promise<void> {
  const payload = new Uint8Array(payloadBytes)
  for (let from = 0; from < messages; from += publishedAtOnce) {
    const list = Array.from({ length: publishedAtOnce }, (_, i) => ({
      payload,
      deliverAtMs: dueMs + ((from + i) % spreadMs),
    }))
    const results = await session.publishMany('due', list)
    if (results.some((result) => 'error' in result || result.deliverAtMs === undefined)) {
      throw new Error('a message was refused, or published at once')
    }
  }
}

/** Subscribes. @returns the moment when the last message is delivered, to be */
async function count(session: Session): Promise<{ readonly last: Promise<number> }> {
  const last = Promise.withResolvers<number>()
  let left = messages
  await session.subscribe(
    'due',
    { from: 'earliest', credit: { bytes: creditBytes } },
    {
      deliver: ({ bytes, fromOffset }) => {
        left -= recordsFrom(bytes, fromOffset)
        if (left === 0) last.resolve(Date.now())
      },
      ended: () => {},
    },
  )
  return { last: last.promise }
}

/** Bytes of buffers for each message of a million. */
function bytesOfIndex(): number {
  collectGarbage()
  const before = process.memoryUsage().arrayBuffers
  const index = new DueIndex()
  const id = new Uint8Array(16)
  for (let n = 0; n < indexed; n++) {
    new DataView(id.buffer).setUint32(0, n)
    index.add('topic', id, 0, (n * 7_919) % indexed, n, n, 100)
  }
  if (index.size !== indexed) throw new Error('not all are in the index')
  collectGarbage()
  const bytes = (process.memoryUsage().arrayBuffers - before) / indexed
  if (index.nextDueMs !== 0) throw new Error('the first is not the first')
  return bytes
}

/**
 * The process whose disk loses power: a broker on the directory given, several producers for each durability, and one that
 * changes the state. It tells every acknowledgement at the moment it comes, and answers each line on stdin with its status.
 */
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { createBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { silentLogger } from 'ratatoskr/adapters/node'
import { isRatatoskrError } from 'ratatoskr/client'
import { seededDraw } from '../../seeded-draw.ts'
import { applied, emptyState, nextOperation, perform, prepareState } from '../harness/state-ledger.ts'
import {
  type Level,
  levels,
  machineMs,
  syncIntervalMs,
  textOf,
  topicOf,
  type WriterEvent,
} from './protocol.ts'

const producersPerLevel = 3
const burst = 4
const [directory, seed] = process.argv.slice(2)
const attempted: Record<string, number> = {}
/** What was late, and when: the last second of it is told. */
let late: { readonly atMs: number; readonly tookMs: number }[] = []

const tell = (event: WriterEvent): number => writeSync(1, `${JSON.stringify(event)}\n`)

const broker = await createBroker({
  storage: diskStorage({ directory, syncIntervalMs }),
  platform: { logger: silentLogger },
})
await broker.start()
for (const level of levels) {
  // Small segments, so that cuts fall on a roll as well.
  await broker.createTopic(topicOf(level), { partitions: 2, durability: level, segmentBytes: 64 * 1024 })
}
await prepareState(broker)

async function publish(level: Level, producer: string): Promise<void> {
  const sequence = attempted[producer]++
  const begunMs = machineMs()
  try {
    const receipt = await broker.publish(topicOf(level), textOf(producer, sequence))
    const atMs = machineMs()
    tell({ is: 'acked', level, producer, sequence, receipt, atMs })
    if (level === 'fsync') late.push({ atMs, tookMs: atMs - begunMs })
  } catch (error) {
    const code = isRatatoskrError(error) ? error.code : String(error)
    tell({ is: 'refused', level, code, atMs: machineMs() })
    await pause(20)
  }
}

async function produce(level: Level, producer: string): Promise<void> {
  attempted[producer] = 0
  for (;;) {
    await Promise.all(Array.from({ length: burst }, () => publish(level, producer)))
    if (level !== 'fsync') await pause(4)
  }
}

async function changeState(): Promise<void> {
  const random = seededDraw(Number(seed))
  let state = emptyState()
  for (let count = 0; ; count++) {
    const operation = nextOperation(state, random, count)
    tell({ is: 'changing', operation, atMs: machineMs() })
    await perform(broker, operation)
    tell({ is: 'changed', atMs: machineMs() })
    state = applied(state, operation)
    await pause(5)
  }
}

/** Notes when the event loop was held up. */
async function watchLoop(): Promise<void> {
  for (let beforeMs = machineMs(); ; ) {
    await pause(5)
    const atMs = machineMs()
    late.push({ atMs, tookMs: atMs - beforeMs })
    beforeMs = atMs
  }
}

createInterface({ input: process.stdin }).on('line', () => {
  const nowMs = machineMs()
  late = late.filter(({ atMs }) => atMs > nowMs - 1_000)
  const lateMs = Math.max(0, ...late.map(({ tookMs }) => tookMs))
  tell({ is: 'status', attempted, lateMs })
})
process.stdin.on('end', () => process.exit(0))

for (const level of levels) {
  for (let i = 0; i < producersPerLevel; i++) void produce(level, `${level}-${i}`)
}

void changeState()
void watchLoop()
tell({ is: 'ready' })

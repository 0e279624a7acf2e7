/** Starts a broker on what a power cut left, and compares what it holds with what was acknowledged before. */
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { silentLogger } from 'ratatoskr/adapters/node'
import { isRatatoskrError, type Message, type PublishReceipt, utf8Text } from 'ratatoskr/ports'
import { assertPromises, type ProducerLog, type StoredMessage } from '../../testing/chaos.ts'
import { assertState, emptyState, observe } from '../harness/state-ledger.ts'
import type { Acknowledgement, StateChange, Told } from './process.ts'
import { type Level, levels, syncIntervalMs, textOf, topicOf } from './protocol.ts'

/** The moment of a cut, by the clock of the machine: between these two. */
export interface Cut {
  readonly fromMs: number
  readonly toMs: number
}

/** What was kept and lost; losses are those that the level allows. */
export interface CutReport {
  /** Messages that had to be there. */
  readonly due: Readonly<Record<Level, number>>
  /** Changes of the state that had to be there. */
  readonly changesDue: number
  /** Acknowledged messages that are not there. */
  readonly lost: Readonly<Record<Level, number>>
  /** How long before the cut the oldest lost message of level `interval` was acknowledged; 0 when none was lost. */
  readonly intervalLostMs: number
}

/** What was acknowledged before these times must be there. */
export type DueMs = Readonly<Record<Level, number>>

/** What is due after a power cut. */
export function dueAtCut({ fromMs }: Cut, { lateMs }: Told): DueMs {
  // The timer of a sync, the sync itself and the loop that runs both: each may be as late as it was within the last second.
  return { os: 0, interval: fromMs - syncIntervalMs - 3 * lateMs, fsync: fromMs }
}

/** @throws Error that names the broken promises */
export async function verifyStore(directory: string, told: Told, cut: Cut, dueMs: DueMs): Promise<CutReport> {
  const broker = await createBroker({
    storage: diskStorage({ directory }),
    platform: { logger: silentLogger },
    autoCreateTopics: false,
  })
  await using _running = broker
  await broker.start()
  const lost: Record<Level, number> = { os: 0, interval: 0, fsync: 0 }
  let intervalLostMs = 0
  const due: Record<Level, number> = { os: 0, interval: 0, fsync: 0 }
  for (const level of levels) {
    const stored = await readTopic(broker, level)
    const found = new Set(stored.map(({ producer, sequence }) => `${producer}:${sequence}`))
    const isFound = ({ producer, sequence }: Acknowledgement) => found.has(`${producer}:${sequence}`)
    const isDue = ({ atMs }: Acknowledgement) => atMs < dueMs[level]
    const acked = told.acked.filter((ack) => ack.level === level && ack.atMs < cut.fromMs)
    const gone = acked.filter((ack) => !isFound(ack))
    due[level] = acked.filter(isDue).length
    lost[level] = gone.length
    if (level === 'interval') intervalLostMs = Math.max(0, ...gone.map(({ atMs }) => cut.fromMs - atMs))
    // Of what is not due, that which is there must be right as well.
    const expected = acked.filter((ack) => isDue(ack) || isFound(ack))
    assertPromises(logsOf(told.attempted, expected), stored)
  }
  const changesDue = await verifyState(broker, told, cut)
  // The store is whole: it goes on where it ended.
  for (const level of levels) await broker.publish(topicOf(level), 'after the cut')
  return { due, changesDue, lost, intervalLostMs }
}

/** @returns how many changes had to be there */
async function verifyState(
  broker: EmbeddedBroker,
  { changes }: Told,
  { fromMs, toMs }: Cut,
): Promise<number> {
  const isAcked = ({ doneMs }: StateChange) => doneMs !== undefined && doneMs < fromMs
  const uncertain = changes.filter((change) => change.begunMs < toMs && !isAcked(change))
  const operations = (of: readonly StateChange[]) => of.map(({ operation }) => operation)
  const acked = operations(changes.filter(isAcked))
  assertState(emptyState(), acked, operations(uncertain), await observe(broker))
  return acked.length
}

function logsOf(
  attempted: Readonly<Record<string, number>>,
  acked: readonly Acknowledgement[],
): readonly ProducerLog[] {
  const logs = new Map(
    Object.entries(attempted).map(([name, count]): [string, ProducerLog] => [
      name,
      { name, attempted: count, acked: new Map<number, PublishReceipt>(), failures: {} },
    ]),
  )
  for (const { producer, sequence, receipt } of acked) logs.get(producer)?.acked.set(sequence, receipt)
  return [...logs.values()]
}

/**
 * Everything that a topic holds. What the store reports as damaged, so that it was lost, is passed over.
 * @throws Error when an offset is missing without a word, or when a byte is wrong
 */
async function readTopic(broker: EmbeddedBroker, level: Level): Promise<StoredMessage[]> {
  const topic = topicOf(level)
  const stored: StoredMessage[] = []
  for (const { partition, offset: end } of await broker.offsets(topic, 'latest')) {
    let next = 0
    while (next < end) {
      const found = await broker.fetch(topic, { partition, offset: next, max: 10_000 }).catch(afterDamage)
      if (typeof found === 'number') {
        next = found
        continue
      }
      for (const message of found) {
        if (message.offset !== next) {
          throw new Error(`broken promises: ${topic}/${partition}: ${message.offset} instead of ${next}`)
        }
        stored.push(storedMessage(topic, message))
        next++
      }
    }
  }
  return stored
}

/** Where reading goes on after damage. */
function afterDamage(error: unknown): number {
  if (isRatatoskrError(error, 'RTK_STORE_CORRUPT')) {
    const { nextOffset } = error.details
    if (typeof nextOffset === 'number') return nextOffset
  }
  throw error
}

function storedMessage(topic: string, { partition, offset, id, payload }: Message): StoredMessage {
  const text = utf8Text(payload)
  const [producer, sequence] = text.split(':', 2)
  if (text !== textOf(producer, Number(sequence))) {
    throw new Error(
      `broken promises: ${topic}/${partition}/${offset} holds ${JSON.stringify(text.slice(0, 40))}`,
    )
  }
  return { partition, offset, id, producer, sequence: Number(sequence) }
}

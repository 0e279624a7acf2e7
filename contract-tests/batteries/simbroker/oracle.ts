/**
 * The judge of a run: knows what was planned, what those who took part saw, and what is stored at the end, and holds that to
 * what the broker promises. It shares no code with the broker.
 */

import { headerOf, letterOf, type PublishFact, type StoredRecord, type TroubleFact } from './ledger.ts'
import { outTopic, workTopic } from './names.ts'
import { judgeGroup } from './oracle-groups.ts'
import type { Outcome } from './run.ts'

/** How late a message may be that was scheduled, when nothing is in its way, and how long trouble may go on to show. */
const latenessMsMax = 200
const aftermathMs = 8_000

/** @returns what is wrong, in a sentence each */
export function judge(outcome: Outcome): string[] {
  const { plan, ledger, deliveriesDrained } = outcome
  const wrong = [
    ...ledger.wrong,
    ...ledger.news.wrong,
    ...judgePublishes(outcome),
    ...judgeRedrives(outcome),
    ...judgeOutputs(outcome),
    ...judgeStreams(outcome),
  ]
  for (let group = 0; group < plan.groups.length; group++) wrong.push(...judgeGroup(outcome, group))
  // What was handed over for good was done before its handler began.
  const late = ledger.deliveries.slice(deliveriesDrained).find(({ lease }) => lease > 0)
  if (late !== undefined) {
    wrong.push(
      `${late.partition}:${late.offset} came to group ${late.group} again after all was done and stored`,
    )
  }
  return wrong
}

function judgePublishes({ plan, ledger, records, beganMs }: Outcome): string[] {
  const wrong: string[] = []
  const stored = new Map<number, StoredRecord[]>()
  for (const record of records.get(workTopic) ?? []) {
    if (letterOf(record) !== undefined) continue
    const message = plan.messages[record.n]
    if (message === undefined) wrong.push(`${record.partition}:${record.offset} was never published`)
    else if (record.key !== message.key || (message.id !== undefined && record.id !== message.id)) {
      wrong.push(`#${record.n} is stored with another key or id`)
    }
    stored.set(record.n, [...(stored.get(record.n) ?? []), record])
  }
  for (const [n, found] of stored) {
    if (found.length > 1) wrong.push(`#${n} is stored ${found.length} times`)
  }
  for (const fact of ledger.publishes) {
    const found = stored.get(fact.n) ?? []
    const problem =
      fact.scheduledForMs === undefined
        ? judgePublish(fact, found)
        : (judgeScheduled(fact, found, beganMs) ?? judgePunctuality(fact, found, ledger.troubles, beganMs))
    if (problem !== undefined) wrong.push(`#${fact.n} ${problem}`)
  }
  return [...wrong, ...judgeOrder(ledger.publishes)]
}

function judgePublish(
  { outcome, partition, offset }: PublishFact,
  found: readonly StoredRecord[],
): string | undefined {
  if (outcome !== 'stored') return undefined
  if (found.length === 0) return 'was acknowledged and is not stored'
  if (found.some((record) => record.partition === partition && record.offset === offset)) return undefined
  return `was acknowledged at ${partition}:${offset} and is not there`
}

function judgeScheduled(
  { outcome, cancel, scheduledForMs = 0 }: PublishFact,
  found: readonly StoredRecord[],
  beganMs: number,
): string | undefined {
  if (cancel === 'taken back') return found.length > 0 ? 'was taken back and delivered' : undefined
  const early = found.find(({ timestampMs }) => timestampMs < scheduledForMs - beganMs)
  if (early !== undefined) return `was delivered at ${early.timestampMs}, before its time`
  const certain = outcome === 'stored' && (cancel === undefined || cancel === 'not there')
  return certain && found.length === 0 ? 'was scheduled and never delivered' : undefined
}

/** While nothing troubles the broker, what is due is there at once. */
function judgePunctuality(
  { scheduledForMs = 0, atMs }: PublishFact,
  found: readonly StoredRecord[],
  troubles: readonly TroubleFact[],
  beganMs: number,
): string | undefined {
  const dueMs = Math.max(scheduledForMs - beganMs, atMs)
  const late = found.find(({ timestampMs }) => timestampMs > dueMs + latenessMsMax)
  if (late === undefined) return undefined
  const isTroubled = troubles.some((one) => one.atMs >= dueMs - aftermathMs && one.atMs <= late.timestampMs)
  return isTroubled ? undefined : `was due at ${dueMs} and came at ${late.timestampMs}`
}

/** Each dead letter that is not left was published again once, and each that is left was not, unless the call was interrupted. */
function judgeRedrives({ plan, ledger, records, lettersLeft }: Outcome): string[] {
  const wrong: string[] = []
  const copies = new Map<string, StoredRecord[]>()
  for (const record of records.get(workTopic) ?? []) {
    const letter = letterOf(record)
    if (letter !== undefined) copies.set(letter, [...(copies.get(letter) ?? []), record])
  }
  const names = new Set<string>()
  for (const list of records.values()) {
    for (const letter of list) {
      const group = headerOf(letter, 'rtk-dead-letter-group')
      if (group === undefined) continue
      const name = `${letter.topicId}:${letter.offset}`
      const found = copies.get(name) ?? []
      const mayBe = ledger.interruptedRedrives.has(group) ? [0, 1] : [0]
      if (!(lettersLeft.has(name) ? mayBe : [1]).includes(found.length)) {
        const where = lettersLeft.has(name) ? 'is left' : 'is done'
        wrong.push(
          `the dead letter ${name} of ${group} ${where} and was published again ${found.length} times`,
        )
      }
      for (const { n, key, id, text } of found) {
        if (n !== letter.n || key !== letter.key || id !== letter.id || text !== letter.text)
          wrong.push(`the dead letter ${name} was published again as something else`)
      }
      names.add(name)
    }
  }
  for (const name of copies.keys())
    if (!names.has(name)) wrong.push(`a copy names the letter ${name}: there is none`)
  if (plan.redrives.length === 0 && copies.size > 0) wrong.push('dead letters were published again by nobody')
  return wrong
}

/** What one producer has stored in one partition stands there in the order in which it was published. */
function judgeOrder(publishes: readonly PublishFact[]): string[] {
  const wrong: string[] = []
  const last = new Map<string, PublishFact>()
  for (const fact of publishes) {
    const { outcome, duplicate, scheduledForMs, idempotent, producer, partition, offset = -1 } = fact
    if (outcome !== 'stored' || duplicate || scheduledForMs !== undefined || !idempotent) continue
    const lane = `${producer}/${partition}`
    const before = last.get(lane)
    if (before !== undefined && (before.offset ?? -1) > offset) {
      wrong.push(`#${fact.n} was published after #${before.n} and stands before it`)
    }
    last.set(lane, fact)
  }
  return wrong
}

/** A publish that carries a lease is stored only while nobody has a later one. */
function judgeOutputs({ records, ledger }: Outcome): string[] {
  const wrong: string[] = []
  const last = new Map<string, number>()
  const found = new Set<string>()
  for (const { text, offset } of records.get(outTopic) ?? []) {
    const [group, partition, place, lease] = text.split(' ')
    const message = `${group} ${partition} ${place}`
    const before = last.get(message) ?? 0
    if (Number(lease) < before)
      wrong.push(`output ${offset} of ${message} carries lease ${lease}, after ${before}`)
    if (Number(lease) === before) wrong.push(`the output of ${message} with lease ${lease} is stored twice`)
    last.set(message, Number(lease))
    found.add(text)
  }
  for (const { of, outcome } of ledger.outputs) {
    const text = `${of.group} ${of.partition} ${of.offset} ${of.lease}`
    if (outcome === 'stored' && !found.has(text))
      wrong.push(`the output ${text} was acknowledged and is not stored`)
  }
  return wrong
}

/** A stream group reads every record, and none before those in front of it. */
function judgeStreams({ plan, ledger, records }: Outcome): string[] {
  if (!plan.streams) return []
  const wrong: string[] = []
  const read = new Set<string>()
  const owed = (records.get(workTopic) ?? []).filter(({ n }) => plan.messages[n]?.ttlMs === undefined)
  const nextOwed = new Map<number, number>()
  for (const { partition, offset } of ledger.streamed) {
    const mine = owed.filter((record) => record.partition === partition)
    let next = nextOwed.get(partition) ?? 0
    read.add(`${partition}:${offset}`)
    while (next < mine.length && read.has(`${partition}:${mine[next].offset}`)) next++
    nextOwed.set(partition, next)
    if (next < mine.length && mine[next].offset < offset) {
      wrong.push(`the stream group read ${partition}:${offset} before ${partition}:${mine[next].offset}`)
    }
  }
  for (const { partition, offset } of owed) {
    if (!read.has(`${partition}:${offset}`)) wrong.push(`the stream group never read ${partition}:${offset}`)
  }
  return wrong
}

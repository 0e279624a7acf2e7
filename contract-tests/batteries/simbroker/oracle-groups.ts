/** What a queue group promises, judged by what its members saw and what is stored at the end. */

import type { LeaseOf } from './lease-news.ts'
import { type DeliveryFact, headerOf, type Ledger, letterOf, type StoredRecord } from './ledger.ts'
import { workTopic } from './names.ts'
import type { GroupPlan, Plan } from './plan.ts'
import type { Outcome } from './run.ts'

/** How long trouble may go on to show after it is over. */
const aftermathMs = 800

interface Letter extends StoredRecord {
  readonly reason: string
  readonly attempts: number
}

/** One message of the group: where it is stored, how often it was handed out, and where it was buried. */
interface Message {
  readonly record: StoredRecord
  /** By lease. */
  readonly deliveries: readonly DeliveryFact[]
  readonly letters: readonly Letter[]
  readonly expires: boolean
}

/** @returns what is wrong with one group */
export function judgeGroup(outcome: Outcome, group: number): string[] {
  return new GroupJudge(outcome, group).judge()
}

class GroupJudge {
  readonly #plan: Plan
  readonly #ledger: Ledger
  readonly #group: GroupPlan
  readonly #index: number
  readonly #records: readonly StoredRecord[]
  readonly #messages = new Map<string, Message>()
  readonly #wrong: string[] = []
  /** From here on a seek makes everything come again. */
  readonly #soughtMs: number
  /** Messages that nobody was given. */
  #passedOver = 0

  constructor({ plan, ledger, records }: Outcome, index: number) {
    this.#plan = plan
    this.#ledger = ledger
    this.#index = index
    this.#group = plan.groups[index]
    const isForUs = (record: StoredRecord): boolean =>
      letterOf(record) === undefined ||
      plan.redrives.some(({ everyGroup }) => everyGroup) ||
      headerOf(record, 'rtk-redrive-group') === this.#group.name
    this.#records = (records.get(workTopic) ?? []).filter(isForUs)
    const seeks = ledger.seeks.filter(({ group }) => group === index)
    this.#soughtMs = Math.min(Number.POSITIVE_INFINITY, ...seeks.map(({ fromMs }) => fromMs))
    const letters = lettersOf(records, this.#group.name)
    const deliveries = grouped(
      ledger.deliveries.filter(({ group }) => group === index),
      placeOf,
    )
    for (const record of this.#records) {
      const place = placeOf(record)
      this.#messages.set(place, {
        record,
        deliveries: (deliveries.get(place) ?? []).toSorted((one, other) => one.lease - other.lease),
        letters: letters.get(place) ?? [],
        expires: plan.messages[record.n]?.ttlMs !== undefined,
      })
    }
    for (const place of deliveries.keys()) {
      if (!this.#messages.has(place))
        this.#wrong.push(`${this.#group.name} was given ${place}, which is not stored, or not for it`)
    }
    for (const place of letters.keys()) {
      if (!this.#messages.has(place))
        this.#wrong.push(`${this.#group.name} buried ${place}, which is not stored`)
    }
  }

  judge(): string[] {
    for (const message of this.#messages.values()) {
      this.#ends(message)
      this.#buriedRight(message)
      this.#startsInTime(message)
      this.#comesOnceAtMost(message)
      this.#countsWhatFailed(message)
      const leased = message.deliveries.filter(({ lease }) => lease > 0)
      for (let i = 1; i < leased.length; i++) {
        const [before, delivery] = [leased.slice(0, i), leased[i]]
        if (delivery.lease === before[i - 1].lease)
          this.#say(delivery, `has the lease ${delivery.lease} twice`)
        if (delivery.startMs >= this.#soughtMs) continue
        this.#comesAgainRightly(before, delivery)
      }
      for (const delivery of message.deliveries) {
        if (delivery.attempt > this.#attemptsMax) this.#say(delivery, `is attempt ${delivery.attempt}`)
      }
      this.#comesBackAfterSeeks(message)
    }
    if (this.#group.sharing !== 'shared') this.#keepsOrder()
    return this.#wrong
  }

  /** What a crash interrupts comes once more: nobody has failed. Nor has a member that polls when the broker starts anew. */
  get #attemptsMax(): number {
    const polled = this.#plan.members.some(({ by, group }) => by === 'polling' && group === this.#index)
    const restarts = this.#ledger.troubles.filter(({ what }) => polled && what === 'restart')
    return this.#group.retriesMax + 1 + this.#ledger.crashes.length + restarts.length
  }

  #say(
    { partition, offset, member }: Pick<DeliveryFact, 'partition' | 'offset' | 'member'>,
    text: string,
  ): void {
    this.#wrong.push(`${this.#group.name} ${partition}:${offset} at ${member} ${text}`)
  }

  /** Nothing is lost: each message was acknowledged, buried, or has expired. */
  #ends({ record, deliveries, letters, expires }: Message): void {
    const where = `${this.#group.name} ${placeOf(record)} #${record.n}`
    if (letters.length > 0) return
    // What was acknowledged before a crash may be done, though the answer that came after it was that the lease is lost.
    const acked =
      this.#isHandedOver(record) ||
      deliveries.some(
        ({ end, answer, startMs, answerMs = 0 }) =>
          end === 'ack' &&
          (answer !== 'RTK_LEASE_LOST' ||
            this.#crashedIn(startMs, answerMs) ||
            this.#restartedIn(startMs, answerMs)),
      )
    if (!acked && !(expires && !this.#group.deadLetterExpired) && !this.#mayBePassedOver()) {
      this.#wrong.push(`${where} was neither acknowledged nor buried`)
    }
    for (const { end, answer, attempt, startMs } of deliveries) {
      if (answer !== 'done' || startMs >= this.#soughtMs || expires) continue
      const last = end === 'nack' && attempt === this.#group.retriesMax + 1
      if ((end === 'terminate' || last) && !acked)
        this.#wrong.push(`${where} failed for good and is not buried`)
    }
  }

  #buriedRight({ record, deliveries, letters }: Message): void {
    const where = `${this.#group.name} ${placeOf(record)} #${record.n}`
    if (letters.length > 1 && this.#soughtMs === Number.POSITIVE_INFINITY) {
      this.#wrong.push(`${where} is buried ${letters.length} times`)
    }
    for (const letter of letters) {
      if (letter.n !== record.n || letter.key !== record.key || letter.id !== record.id) {
        this.#wrong.push(`${where} was buried as something else`)
      }
      const { attempts, reason } = letter
      const attemptsMin = this.#group.retriesMax + 1
      if (reason === 'retries' && (attempts < attemptsMin || attempts > this.#attemptsMax)) {
        this.#wrong.push(`${where} was buried after ${attempts} of ${attemptsMin} attempts`)
      }
      if (letter.reason === 'terminated' && !deliveries.some(({ end }) => end === 'terminate')) {
        this.#wrong.push(`${where} was buried as terminated, and nobody did that`)
      }
    }
  }

  /** An attempt counts only when somebody had begun, or said that it failed, or its lease ended while he lived. */
  #countsWhatFailed({ record, deliveries, letters }: Message): void {
    if (!this.#saysWhenItBegins || this.#soughtMs !== Number.POSITIVE_INFINITY) return
    const { partition, offset } = record
    const sendings = this.#ledger.news.sendings(this.#group.name, record)
    const mayCount = sendings.map(({ life, lease, atMs }, i) => {
      const key = { life, group: this.#group.name, partition, offset, lease }
      const untilMs = sendings[i + 1]?.atMs ?? Number.POSITIVE_INFINITY
      const failed = deliveries.some((one) => one.lease === lease && one.end === 'nack')
      return failed || this.#ledger.news.hasBegun(key) || untilMs - atMs >= this.#group.ackTimeoutMs
    })
    const before = (lease: number): number =>
      sendings.filter((sending, i) => sending.lease < lease && mayCount[i]).length
    for (const delivery of deliveries) {
      const most = 1 + before(delivery.lease)
      if (delivery.attempt > most)
        this.#say(delivery, `is attempt ${delivery.attempt}, and ${most} at most count`)
    }
    const most = before(Number.POSITIVE_INFINITY)
    const wrong = letters.find(({ reason, attempts }) => reason === 'retries' && attempts > most)
    if (wrong === undefined) return
    this.#wrong.push(
      `${this.#group.name} ${placeOf(record)} was buried after ${wrong.attempts} attempts, and ${most} at most count`,
    )
  }

  /** True when all members are clients that are called, or read in a loop. */
  get #saysWhenItBegins(): boolean {
    const members = this.#plan.members.filter(({ group }) => group === this.#index)
    return members.every(({ by }) => by === 'handler' || by === 'loop')
  }

  /** True when the loss of who has the message counts, and nothing else can have taken it from him than that. */
  #countsWhenLost(delivery: DeliveryFact, toMs: number): boolean {
    const { redelivered, polled, lease, end, startMs } = delivery
    const fromMs = this.#ledger.news.sentMs(this.#leaseOf(delivery)) ?? startMs
    const begun = !polled && lease > 0 && (redelivered || this.#group.retriesMax === 0)
    const isQuiet = !this.#crashedIn(fromMs, toMs) && !this.#restartedIn(fromMs, toMs)
    return begun && end !== 'release' && isQuiet && this.#group.sharing === 'shared'
  }

  /** What was handed over for good never comes again. */
  #comesOnceAtMost({ record }: Message): void {
    const sendings = this.#ledger.news.sendings(this.#group.name, record)
    const first = sendings.findIndex(({ lease }) => lease === 0)
    const again = first === -1 ? undefined : sendings[first + 1]
    if (again === undefined || again.atMs >= this.#soughtMs) return
    this.#wrong.push(
      `${this.#group.name} ${placeOf(record)} was handed over for good at ${sendings[first].atMs} and sent again at ${again.atMs}`,
    )
  }

  /** True when the message was sent to somebody who takes at most once. */
  #isHandedOver(record: StoredRecord, fromMs = 0): boolean {
    return this.#ledger.news
      .sendings(this.#group.name, record)
      .some(({ lease, atMs }) => lease === 0 && atMs >= fromMs)
  }

  /** A crash passes over what was about to be handed over: one delivery of each member that takes at most once. */
  #mayBePassedOver(): boolean {
    this.#passedOver++
    const members = this.#plan.members.filter(({ by, group }) => by === 'once' && group === this.#index)
    const most = members.reduce((sum, { maxInFlight }) => sum + maxInFlight, 0)
    return this.#passedOver <= most * this.#ledger.crashes.length
  }

  #startsInTime({ record, deliveries }: Message): void {
    const due = this.#ledger.publishes.find(
      ({ n, scheduledForMs }) => n === record.n && scheduledForMs !== undefined,
    )
    if (due === undefined) return
    const delayMs = this.#plan.messages[record.n].delayMs ?? 0
    for (const delivery of deliveries) {
      if (delivery.startMs < due.atMs + delayMs)
        this.#say(delivery, `came at ${delivery.startMs}, before its time`)
    }
  }

  #comesAgainRightly(before: readonly DeliveryFact[], delivery: DeliveryFact): void {
    if (!delivery.redelivered && before.some(({ end }) => end !== 'release')) {
      this.#say(delivery, `comes again with lease ${delivery.lease} and does not say so`)
    }
    let counted = 0
    for (const one of before) {
      const { end, answer, answerMs = 0, againMs = 0, endMs = Number.POSITIVE_INFINITY } = one
      if (end === 'ack' && answer === 'done' && !this.#mayBeForgotten(endMs, answerMs, delivery.startMs)) {
        this.#say(delivery, `comes again at ${delivery.startMs}, acknowledged at ${answerMs}`)
      }
      const crashed = this.#crashedIn(one.startMs, delivery.startMs)
      const failed = end === 'nack' && answer === 'done' && !crashed
      if (failed || this.#countsWhenLost(one, delivery.startMs)) counted++
      // Who polls and has no answer was too late.
      const quiet = answer === undefined && !one.polled && this.#isQuiet(one, delivery.startMs)
      const told = answer === 'done' || quiet
      if (
        end === 'nack' &&
        told &&
        !crashed &&
        delivery.startMs < againMs &&
        delivery.at > (one.endAt ?? 0)
      ) {
        this.#say(delivery, `comes again at ${delivery.startMs}, and was to wait until ${againMs}`)
      }
      if (this.#holds(one, delivery)) this.#say(delivery, `is still being handled at ${one.member}`)
    }
    if (delivery.attempt <= counted)
      this.#say(delivery, `is attempt ${delivery.attempt} after ${counted} failures`)
  }

  /** True when one is at work on its message when the other begins, and nothing has happened that could take it from him. */
  #holds(one: DeliveryFact, other: DeliveryFact): boolean {
    if (one.polled && other.startMs >= this.#leasedUntilMs(one)) return false
    if (one.at >= other.at || (one.endAt !== undefined && one.endAt < other.at)) return false
    return other.startMs < this.#soughtMs && this.#isQuiet(one, other.startMs)
  }

  /** True when nothing troubled the client or the broker since the message was leased. */
  #isQuiet(delivery: DeliveryFact, toMs: number): boolean {
    const { client } = delivery
    const fromMs = this.#ledger.news.sentMs(this.#leaseOf(delivery)) ?? delivery.startMs
    return !this.#ledger.troubles.some(
      (trouble) =>
        (trouble.client === undefined || trouble.client === client) &&
        trouble.atMs >= (trouble.what === 'connected' ? fromMs : fromMs - aftermathMs) &&
        trouble.atMs <= toMs,
    )
  }

  #crashedIn(fromMs: number, toMs: number): boolean {
    return this.#ledger.crashes.some((crashMs) => crashMs >= fromMs && crashMs <= toMs)
  }

  #restartedIn(fromMs: number, toMs: number): boolean {
    return this.#ledger.troubles.some(
      ({ atMs, what }) => what === 'restart' && atMs >= fromMs && atMs <= toMs,
    )
  }

  /** True when a crash may have taken an acknowledgement that was not stored yet. */
  #mayBeForgotten(endMs: number, answerMs: number, againMs: number): boolean {
    const hardTimes = this.#ledger.troubles.some(
      ({ atMs, client, what }) =>
        client === undefined &&
        !/^kill|^power/.test(what) &&
        atMs >= answerMs - 12_000 &&
        atMs <= answerMs + 3_000,
    )
    const windowMs = hardTimes ? 15_000 : this.#group.checkpointIntervalMs + 30
    const untilMs = Math.min(againMs, answerMs + windowMs)
    return this.#crashedIn(endMs, untilMs)
  }

  /** A group that was sought to its start sees everything again. */
  #comesBackAfterSeeks({ record, deliveries, letters, expires }: Message): void {
    for (const { group, fromMs, toMs } of this.#ledger.seeks) {
      if (group !== this.#index || toMs === undefined || expires) continue
      const given = deliveries.some(({ startMs }) => startMs >= fromMs) || this.#isHandedOver(record, fromMs)
      // What is never handled in time is buried without anybody having seen it; after a crash a letter of before the seek is
      // taken for that of this burial.
      const lettersFromMs = this.#crashedIn(fromMs, this.#ledger.nowMs) ? 0 : fromMs
      if (!given && !letters.some(({ timestampMs }) => timestampMs >= lettersFromMs)) {
        this.#wrong.push(
          `${this.#group.name} ${placeOf(record)} did not come again after the seek at ${fromMs}`,
        )
      }
    }
  }

  /** A message of a key is handled when those before it are done, and one at a time. */
  #keepsOrder(): void {
    const keyed = [...this.#messages.values()].filter(({ record }) => record.key !== undefined)
    for (const messages of grouped(keyed, ({ record }) => `${record.partition} ${record.key}`).values()) {
      for (const [i, message] of messages.entries()) {
        for (const delivery of message.deliveries) {
          // What is handed over for good is done before anybody has it.
          if (delivery.lease === 0) continue
          if (delivery.startMs >= this.#soughtMs || this.#couldNotKnow(delivery)) continue
          for (const earlier of messages.slice(0, i)) {
            if (!this.#isDone(earlier, delivery)) {
              this.#say(delivery, `is handled before ${placeOf(earlier.record)} of its key`)
            }
          }
          for (const other of messages) {
            if (other === message) continue
            for (const one of other.deliveries) {
              if (this.#holds(one, delivery)) {
                this.#say(delivery, `is handled while ${one.member} handles ${placeOf(one)} of its key`)
              }
            }
          }
        }
      }
    }
  }

  #leaseOf({ member, partition, offset, lease }: DeliveryFact): LeaseOf {
    return { life: member.slice(0, member.indexOf('/')), group: this.#group.name, partition, offset, lease }
  }

  /** When the lease of a polled message ends, which nobody keeps up. */
  #leasedUntilMs(delivery: DeliveryFact): number {
    return this.#ledger.news.toldUntilMs(this.#leaseOf(delivery)) ?? this.#group.ackTimeoutMs
  }

  /**
   * True when a handler began under a lease that was over, and its client could not know: the word of it was on its way, or the link
   * was lost and that had not been noticed. A client that stood still for long enough to see it has to ask before it goes on:
   * for its own doing nobody else is to blame. Who polls is told nothing.
   */
  #couldNotKnow(delivery: DeliveryFact): boolean {
    if (delivery.polled) {
      const { startMs } = delivery
      return startMs >= this.#leasedUntilMs(delivery) || !this.#isQuiet(delivery, startMs)
    }
    const sinceMs = this.#ledger.news.unknownSinceMs(this.#leaseOf(delivery), delivery.at)
    if (sinceMs === undefined) return false
    const seenMs = (2 / 3) * Math.min(this.#plan.memberTimeoutMs, this.#group.ackTimeoutMs)
    return !this.#ledger.stalls.some(
      ({ client, fromMs, toMs }) =>
        client === delivery.client && toMs - fromMs > seenMs && toMs >= sinceMs && fromMs <= delivery.startMs,
    )
  }

  /**
   * True when a crash came while it was being handed over for good: that is stored, and nobody is given it any more. Whoever had
   * it before had a lease, which he lost.
   */
  #isPassedOver({ record, deliveries }: Message, beforeMs: number): boolean {
    const takesForGood = this.#plan.members.some(({ by, group }) => by === 'once' && group === this.#index)
    if (!takesForGood) return false
    const sentMs = this.#ledger.news.sendings(this.#group.name, record).map(({ atMs }) => atMs)
    const polledMs = deliveries.filter(({ polled }) => polled).map(({ startMs }) => startMs)
    const lastMs = Math.max(0, ...sentMs, ...polledMs)
    return this.#crashedIn(lastMs, beforeMs)
  }

  #isDone(message: Message, { at, startMs }: DeliveryFact): boolean {
    const { record, deliveries, letters, expires } = message
    return (
      expires ||
      this.#isPassedOver(message, startMs) ||
      this.#isHandedOver(record) ||
      deliveries.some(({ end, endAt = Number.POSITIVE_INFINITY }) => end === 'ack' && endAt < at) ||
      letters.some(({ timestampMs }) => timestampMs <= startMs)
    )
  }
}

const placeOf = ({ partition, offset }: { readonly partition: number; readonly offset: number }): string =>
  `${partition}:${offset}`

function grouped<T>(list: readonly T[], keyOf: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const one of list) {
    const group = groups.get(keyOf(one))
    if (group === undefined) groups.set(keyOf(one), [one])
    else group.push(one)
  }
  return groups
}

/** The dead letters of a group by the place of their messages. */
function lettersOf(records: Outcome['records'], group: string): Map<string, Letter[]> {
  const letters: { readonly place: string; readonly letter: Letter }[] = []
  for (const list of records.values()) {
    for (const record of list) {
      const header = (name: string): string | undefined => headerOf(record, `rtk-dead-letter-${name}`)
      if (header('group') !== group) continue
      letters.push({
        place: `${header('partition')}:${header('offset')}`,
        letter: { ...record, reason: header('reason') ?? '', attempts: Number(header('attempts')) },
      })
    }
  }
  const byPlace = grouped(letters, ({ place }) => place)
  return new Map([...byPlace].map(([place, list]) => [place, list.map(({ letter }) => letter)]))
}

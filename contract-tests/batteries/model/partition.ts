/**
 * What a queue group may do with one partition, as a model: maps and loops, without an eye to speed, and nothing of the
 * broker's own rules but what its ports promise. Whatever the broker does is told here, and refused when it may not be.
 */
import type { LeasedBatch, QueueConfig, Settlement, SettlementAction } from 'ratatoskr/ports'
import { broken } from './broken.ts'
import { type Counts, type ExpectedResult, retryDelayMs } from './expected.ts'
import type { MemberModel } from './group.ts'
import { blockerOf, mayBeBlocked, overtakerOf } from './key-order.ts'
import { LeaseBook } from './leases.ts'
import { assertMayBeBuried, assertSaysWhy, saidBy } from './letter.ts'
import { MessageModel, type Status } from './message.ts'
import { recordsOf, type StoredRecord } from './stored-log.ts'

export class PartitionModel {
  readonly index: number
  readonly messages: MessageModel[] = []
  readonly #configNow: () => QueueConfig
  readonly #ordered: boolean
  readonly #leases: LeaseBook
  /** Goes up with each restart and seek. */
  #generation = 0
  /** Where the group began the last time. */
  #start = 0
  #cameBack: MessageModel[] = []
  /** When messages last became free one after the other, and not all at once: letters that are stored together, and hand-overs. */
  #freedMs = -1

  /** @param configNow the settings of its group, which may change */
  constructor(index: number, configNow: () => QueueConfig) {
    this.index = index
    this.#configNow = configNow
    this.#ordered = configNow().sharing !== 'shared'
    this.#leases = new LeaseBook((offset) => this.#at(offset))
  }

  get lastLease(): number {
    return this.#leases.last
  }

  get #config(): QueueConfig {
    return this.#configNow()
  }

  /** These stand in the log now. */
  stored(records: readonly StoredRecord[]): void {
    for (const { offset, name, key, expiresAtMs } of records) {
      if (offset !== this.messages.length)
        throw broken(`${this.#at(offset)} was stored after ${this.messages.length}`)
      const message = new MessageModel(offset, name, key, expiresAtMs)
      message.vanishes = this.#config.deadLetterTopic === 'none'
      this.messages.push(message)
    }
  }

  /** The log is there again: what nobody was promised may be gone from its end, or be there. */
  reopened(records: readonly StoredRecord[]): void {
    for (const { offset, name } of records.slice(0, this.messages.length)) {
      if (this.messages[offset]?.name !== name) throw broken(`${this.#at(offset)} is ${name} after a restart`)
    }
    if (records.length < this.messages.length) throw broken(`the log of partition ${this.index} lost its end`)
    this.stored(records.slice(this.messages.length))
  }

  /** Lets what is due by now happen: leases end, delays are over. */
  tick(nowMs: number): void {
    for (;;) {
      const due = Math.min(
        ...this.#all('leased').map(({ deadlineMs }) => deadlineMs),
        ...this.#all('delayed').map(({ dueMs }) => dueMs),
      )
      if (due > nowMs) return
      for (const message of this.#all('leased')) {
        if (message.deadlineMs > due) continue
        this.#leases.lost(message, 'timeout')
        this.#fail(message, 'retries', due)
      }
      this.#takeBack(due)
      for (const message of this.#all('delayed')) if (message.dueMs <= due) message.become('waiting', due)
    }
  }

  /**
   * A delivery. @param sinceLease for members that poll, whose deliveries are told with the answer: the last lease before they asked
   * @param handsOver somebody takes what he is given for good: what he will be given next is on its way for a while
   * @throws Error with the promise that it breaks
   */
  deliver(
    { number: member, autoAck, polls, begins }: Pick<MemberModel, 'number' | 'autoAck' | 'polls' | 'begins'>,
    batch: LeasedBatch,
    nowMs: number,
    handsOver: boolean,
    sinceLease = this.lastLease,
  ): void {
    this.tick(nowMs)
    if (polls) this.#leases.polls(member)
    const { lease, attempt, firstOffset, lastOffset, recordCount } = batch
    const records = recordsOf(batch.bytes)
    if (records.length !== recordCount) throw broken(`${records.length} records came as ${recordCount}`)
    if (records[0]?.offset !== firstOffset || records.at(-1)?.offset !== lastOffset) {
      throw broken(
        `records ${records[0]?.offset} to ${records.at(-1)?.offset} came as ${firstOffset} to ${lastOffset}`,
      )
    }
    if (autoAck ? lease !== 0 : lease <= sinceLease || this.#leases.find(lease) !== undefined) {
      throw broken(`lease ${lease} came after lease ${this.lastLease}`)
    }
    if (handsOver) this.#freedMs = nowMs
    for (const record of records) this.#assertMayCome(record, member, batch, nowMs)
    if (!autoAck) this.#leases.give(lease, member, firstOffset, lastOffset + 1)
    for (const { offset } of records) {
      const message = this.messages[offset]
      message.attempts = attempt
      message.seen = true
      message.seenInGeneration = this.#generation
      if (autoAck) {
        message.become('settled', nowMs)
        message.mark()
        message.flushed() // it was stored before
        continue
      }
      message.lease = lease
      message.member = member
      message.begun = !begins
      message.deadlineMs = nowMs + batch.leaseMs
      message.become('leased', nowMs)
    }
  }

  /** Carries a settlement out. */
  settle(settlement: Settlement, nowMs: number): ExpectedResult {
    this.tick(nowMs)
    const { action, lease, from, to } = settlement
    const known = this.#leases.find(lease)
    let settled = 0
    let lost = 0
    let unsure = 0
    for (let offset = from; offset < to; offset++) {
      const message = this.messages[offset]
      if (known === undefined || offset < known.from || offset >= known.to) lost++
      else if (message.status === 'leased' && message.lease === lease) {
        settled++
        this.#end(message, action, settlement, nowMs)
      } else if (known.lost.has(offset)) lost++
      else if (known.old) unsure++
    }
    this.#takeBack(nowMs)
    // From 0 on it is about the messages of the lease only.
    if (from === 0 && known !== undefined) {
      lost = unsure = 0
      for (let offset = known.from; offset < Math.min(to, known.to); offset++)
        if (known.lost.has(offset)) lost++
      if (known.old) unsure = to
    }
    return { settled, lost, unsure }
  }

  holds(lease: number, offset: number): boolean {
    const message = this.messages[offset]
    return message?.status === 'leased' && message.lease === lease
  }

  /** A member is gone. */
  leave(member: number, nowMs: number): void {
    this.tick(nowMs)
    for (const message of this.#all('leased')) {
      if (message.member !== member) continue
      this.#leases.endOf(message)
      if (message.begun) this.#fail(message, 'retries', nowMs)
      else this.#release(message, nowMs)
    }
    this.#takeBack(nowMs)
    this.#leases.leave(member)
  }

  /** The group goes on elsewhere. */
  seek(offset: number, nowMs: number): void {
    this.tick(nowMs)
    for (const message of this.#all('leased')) this.#leases.lost(message, 'seek')
    this.#begin()
    this.#start = offset
    for (const message of this.messages) message.begin(message.offset < offset ? 'settled' : 'waiting', nowMs)
  }

  mark(): void {
    for (const message of this.messages) message.mark()
  }

  /** Everything up to the last mark is stored. */
  flushed(): void {
    for (const message of this.messages) message.flushed()
  }

  /** The broker is gone, and comes back with what was stored at some moment from `sinceMs` on. */
  restart(sinceMs: number, nowMs: number): void {
    for (const message of this.messages) {
      if (message.status === 'leased') this.#leases.endOf(message)
      message.restored(sinceMs, nowMs)
    }
    this.#leases.forgetUntold()
    this.#begin()
  }

  /** A dead letter was stored. @throws Error when it may not be there, or does not say what is true */
  buried(letter: StoredRecord, stopping: boolean, nowMs: number): void {
    this.tick(nowMs)
    const offset = Number(saidBy(letter, 'offset'))
    const message = this.messages[offset]
    const at = `the dead letter of ${this.#at(offset)}`
    assertMayBeBuried(letter, message, at, this.#config.deadLetterExpired && message?.hasExpired(nowMs))
    if (++message.buried > 1 + message.buriedAgainMax) throw broken(`${at} came ${message.buried} times`)
    if (message.status !== 'failing') {
      this.#freedMs = nowMs
      // It may be the letter of an earlier failure, which the message has left behind.
      if (message.mayBe('failing') || message.buriedAgainMax === 0) this.#settleNow(message, nowMs)
      return
    }
    assertSaysWhy(letter, message, at)
    this.#freedMs = nowMs
    if (!stopping) this.#settleNow(message, nowMs) // otherwise its source may not come to know of it
  }

  /** A member was told of a loss. @throws Error when there was none */
  toldLost(member: number, lease: number, offset: number, reason: string): void {
    this.#leases.told(member, lease, offset, reason)
  }

  /** Losses that were to be told, and were not. */
  get untold(): readonly string[] {
    return this.#leases.untold
  }

  counts(nowMs: number): Counts {
    this.tick(nowMs)
    const count = (is: (message: MessageModel) => boolean): number => this.messages.filter(is).length
    return {
      lag: [count((one) => !one.mayBeSettled(nowMs)), count(({ status }) => status !== 'settled')],
      inFlight: count(({ status }) => status === 'leased'),
      delayed: [
        count((one) => one.status === 'delayed' && !one.untouched && !one.hasExpired(nowMs)),
        count((one) => one.mayBe('delayed')),
      ],
    }
  }

  /** A message that this member must have been given by now if it may have any; undefined when there is none. */
  owedTo(member: number, nowMs: number): MessageModel | undefined {
    this.tick(nowMs)
    return this.messages.find(
      (message) =>
        message.status === 'waiting' && message.expiresAtMs > nowMs && !this.#isBlocked(message, member),
    )
  }

  /** True when somebody else holds messages here. */
  heldByOthers(member: number): boolean {
    return this.#all('leased').some((message) => message.member !== member)
  }

  /** What is not settled, for the end of a run; doubts are settled when they may be. */
  unfinished(nowMs: number): readonly MessageModel[] {
    this.tick(nowMs)
    return this.messages.filter((message) => !message.mayBeSettled(nowMs))
  }

  #assertMayCome(record: StoredRecord, member: number, batch: LeasedBatch, nowMs: number): void {
    const { offset, name } = record
    const { attempt, redelivered } = batch
    const message = this.messages[offset]
    const at = this.#at(offset)
    if (message === undefined) throw broken(`${at} came, and was never stored`)
    if (message.name !== name) throw broken(`${at} came as ${name} and is ${message.name}`)
    if (offset < this.#start) throw broken(`${at} came, and the group began at ${this.#start}`)
    if (!message.mayBeReady(nowMs)) {
      const due = message.status === 'delayed' ? ` until ${message.dueMs}, now is ${nowMs}` : ''
      throw broken(`${at} came while it was ${message.status}${due}, held by ${message.member}`)
    }
    if (message.expiresAtMs <= nowMs) throw broken(`${at} came after it had expired`)
    if (!message.nextAttempts().includes(attempt)) {
      throw broken(`${at} came as attempt ${attempt} instead of ${message.nextAttempts().join(' or ')}`)
    }
    if (message.seen && !redelivered) throw broken(`${at} came again and was not flagged`)
    if (redelivered && !message.seen && this.#generation === 0) {
      throw broken(`${at} was flagged as redelivered, and came for the first time`)
    }
    if (!this.#ordered) return
    const before = blockerOf(this.messages, message, member, batch.firstOffset, nowMs)
    if (before !== undefined) {
      throw broken(`${at} came before ${before.offset} of the same key, which is ${before.status}`)
    }
    const later = overtakerOf(this.messages, message, this.#generation)
    if (later !== undefined) throw broken(`${at} came after ${later.offset} of the same key`)
    if (message.seenInGeneration === this.#generation || this.#freedMs === nowMs) return
    this.#assertNothingPassedOver(message, member, batch, nowMs)
  }

  /** In order: whoever was not delivered in this generation, comes later and could come now, must wait for this one. */
  #assertNothingPassedOver(message: MessageModel, member: number, batch: LeasedBatch, nowMs: number): void {
    const passed = this.messages.find(
      (one) =>
        one.offset < batch.firstOffset &&
        one.status === 'waiting' &&
        one.expiresAtMs > nowMs &&
        one.seenInGeneration !== this.#generation &&
        !this.#isBlocked(one, member),
    )
    if (passed === undefined) return
    throw broken(`${this.#at(message.offset)} came first, and ${passed.offset} before it was free to come`)
  }

  #isBlocked(message: MessageModel, member: number): boolean {
    return this.#ordered && mayBeBlocked(this.messages, message, member)
  }

  #end(message: MessageModel, action: SettlementAction, settlement: Settlement, nowMs: number): void {
    switch (action) {
      case 'ack':
        this.#settleNow(message, nowMs)
        return
      case 'extend':
        message.deadlineMs = nowMs + (settlement.extendMs ?? this.#config.ackTimeoutMs)
        return
      case 'terminate':
        this.#giveUp(message, 'terminated', nowMs)
        return
      case 'begin':
        message.begun = true
        message.become('leased', nowMs)
        return
      case 'release':
        this.#release(message, nowMs)
        return
      case 'nack':
        this.#fail(
          message,
          'retries',
          nowMs,
          settlement.delayMs ?? retryDelayMs(this.#config.retry, message.attempts),
        )
    }
  }

  /** It was not handled: the attempt does not count. */
  #release(message: MessageModel, nowMs: number): void {
    message.attempts--
    this.#wait(message, nowMs)
  }

  /** An attempt failed: the message comes again, or is given up. */
  #fail(message: MessageModel, failure: string, nowMs: number, delayMs = 0): void {
    const { retriesMax } = this.#config
    if (retriesMax !== -1 && message.attempts > retriesMax) this.#giveUp(message, failure, nowMs)
    else if (delayMs > 0) {
      message.dueMs = nowMs + delayMs
      message.become('delayed', nowMs)
      this.#cameBack.push(message)
    } else this.#wait(message, nowMs)
  }

  #giveUp(message: MessageModel, failure: string, nowMs: number): void {
    message.failure = failure
    message.become('failing', nowMs)
    this.#cameBack.push(message)
  }

  #wait(message: MessageModel, nowMs: number): void {
    message.become('waiting', nowMs)
    this.#cameBack.push(message)
  }

  #settleNow(message: MessageModel, nowMs: number): void {
    message.become('settled', nowMs)
  }

  /** Later messages of the keys that came back are taken from their holder; the attempt does not count. */
  #takeBack(nowMs: number): void {
    const cameBack = this.#cameBack
    this.#cameBack = []
    if (!this.#ordered) return
    for (const { offset, key } of cameBack) {
      if (key === '') continue
      for (const later of this.messages) {
        if (later.offset <= offset || later.key !== key || later.status !== 'leased') continue
        this.#leases.lost(later, 'order')
        later.attempts--
        later.become('waiting', nowMs)
      }
    }
  }

  #begin(): void {
    this.#generation++
    this.#start = 0
    this.#leases.age()
  }

  #all(status: Status): readonly MessageModel[] {
    return this.messages.filter((message) => message.status === status)
  }

  #at(offset: number): string {
    const message = this.messages[offset]
    return `message ${this.index}/${offset}${message === undefined || message.key === '' ? '' : ` of key ${message.key}`}`
  }
}

/**
 * One partition of a queue group: what is done next, and what follows from what was done. It takes turns with all others in the
 * runner's ring, one delivery a turn. Its parts: stored-table.ts (the leases, over restarts), log-reading.ts, intake.ts
 * (what may be given), giving.ts, settling.ts, burials.ts (dead letters), lease-timer.ts.
 */
import type { QueueCheckpoint, StoredFailure } from '../../domain/queue/checkpoint.ts'
import type { LeaseTable } from '../../domain/queue/lease-table.ts'
import type { SettleCounts } from '../../domain/queue/lease-types.ts'
import type { QueuePartitionDescription, Settlement } from '../../ports/index.ts'
import type { Steppable } from '../delivery/runner.ts'
import type { ReadablePartition } from '../seams.ts'
import { Burials } from './burials.ts'
import { Giving } from './giving.ts'
import type { HostedPartition } from './hosted-partition.ts'
import { Intake } from './intake.ts'
import { LeaseTimer } from './lease-timer.ts'
import { LogReading } from './log-reading.ts'
import type { LogWindow } from './log-window.ts'
import type { PartitionHost } from './partition-host.ts'
import { isOwed, whereItStands } from './positions.ts'
import type { QueueMember } from './queue-member.ts'
import { Settling } from './settling.ts'
import { StoredTable } from './stored-table.ts'

export class QueuePartition implements Steppable, HostedPartition {
  readonly log: ReadablePartition
  owner: QueueMember | undefined
  moving = false
  paused = false
  readonly stored: StoredTable
  readonly #host: PartitionHost
  readonly #burials: Burials
  readonly #reading: LogReading
  readonly #settling: Settling
  readonly #timer: LeaseTimer
  readonly #intake: Intake
  readonly #giving: Giving
  #leased = 0
  #started = false
  #closed = false
  #scheduled = false
  #watch: Disposable | undefined

  /** @param begin what was stored, or where a new group begins */
  constructor(log: ReadablePartition, begin: QueueCheckpoint, host: PartitionHost) {
    this.log = log
    this.#host = host
    const failures = (): readonly StoredFailure[] => this.#burials.underWay
    this.stored = new StoredTable(log, begin, host, failures, (handovers) => {
      this.#burials.checkpointStored()
      this.#giving.handOver(this.stored.table, handovers)
      this.schedule()
      host.reviewTakes()
    })
    this.#reading = new LogReading({
      log,
      host,
      table: () => this.stored.table,
      afterwards: () => this.#afterwards(),
      schedule: this.#wake,
      filled: () => host.windowFilled(this),
    })
    this.#intake = new Intake(log, this.window, host)
    this.#giving = new Giving({
      index: log.index,
      window: this.window,
      intake: this.#intake,
      handovers: this.stored.handovers,
      host,
      afterwards: this.#afterwards,
      read: (offset, bytesMax) => this.#reading.read(offset, bytesMax),
    })
    this.#settling = new Settling({
      index: log.index,
      host,
      afterwards: (reason) => {
        this.#burials.reason = reason
        this.#afterwards()
        this.#burials.reason = undefined
      },
      schedule: this.#wake,
    })
    this.#timer = new LeaseTimer(host, this.#timeUp)
    this.#burials = new Burials(this, host, this.#afterwards)
    this.#clip()
  }

  get index(): number {
    return this.log.index
  }

  get window(): LogWindow {
    return this.#reading.window
  }

  get isStarted(): boolean {
    return this.#started
  }

  /** True while it is in the ring. */
  get scheduled(): boolean {
    return this.#scheduled
  }

  /** True while it waits for its log, or for the store that must know of it before a delivery. */
  get busy(): boolean {
    if (this.#closed || !this.#started) return false
    if (this.#reading.isUnderWay || this.stored.handovers.open.length > 0) return true
    return this.log.state === 'online' && !this.stored.mayLease
  }

  get table(): LeaseTable | undefined {
    return this.stored.table
  }

  /** Begins work: from here on checkpoints are stored. Idempotent. */
  start(): void {
    if (this.#started || this.#closed) return
    this.#started = true
    this.#open()
    this.schedule()
  }

  /** Begins work when messages were on their way to the dead letters: for these no member is needed. */
  resume(): void {
    if (this.stored.buryTo > 0) this.start()
  }

  /** Ends work; leases are forgotten without a word. */
  close(): void {
    this.#closed = true
    if (this.stored.table !== undefined) this.#giving.revoke(this.stored.table)
    this.stored.close()
    this.#watch?.[Symbol.dispose]()
    this.#timer.close()
    this.#burials.close()
    this.#reading.close()
  }

  schedule(): void {
    if (this.#scheduled || this.#closed || this.#reading.isUnderWay || !this.#started) return
    this.#scheduled = true
    this.#host.runner.schedule(this)
  }

  /** One turn: one delivery, or what has to be done before it. */
  step(): void {
    this.#scheduled = false
    if (this.#closed || this.#reading.isUnderWay) return
    try {
      if (this.#work()) this.schedule()
    } catch (error) {
      this.#host.logger.error('a partition of a queue group failed; trying again', { ...this.#names, error })
      this.#reading.pause()
    }
  }

  settle(settlement: Settlement): SettleCounts {
    return this.#settling.settle(this.stored.table, settlement)
  }

  holds(lease: number, offset: number): boolean {
    return this.table?.holds(lease, offset) ?? false
  }

  /** True while a message is not settled. */
  owes(offset: number): boolean {
    return this.table?.owes(offset) ?? isOwed(this.stored.begin, offset)
  }

  heldBy(member: QueueMember): number {
    return this.table?.heldBy(member.number) ?? 0
  }

  /** A member is gone. */
  leave(member: QueueMember): void {
    const { table } = this.stored
    if (table === undefined) return
    const wasStoring = this.stored.handovers.revoke(table, member).length > 0
    table.leave(member.number)
    this.#afterwards(wasStoring)
    this.schedule()
  }

  /** Goes on at `offset`, whatever was settled; holders lose their leases. */
  seek(offset: number): void {
    this.#burials.seeked()
    const { table } = this.stored
    if (table === undefined) {
      this.stored.beginAt(offset)
      this.#host.dirty(this, true)
      return
    }
    this.#giving.revoke(table)
    table.seek(offset)
    this.#intake.forget()
    this.#afterwards(true)
    this.schedule()
  }

  /**
   * The log was opened and ends at `end`, and nothing is appended to it until what changes is stored.
   * @returns what was known, when it was more than there is
   */
  putBack(end: number): QueueCheckpoint | undefined {
    if (this.#closed) return undefined
    const { table } = this.stored
    if (table === undefined) {
      const known = this.stored.clip(end)
      if (known !== undefined) this.#host.dirty(this, true)
      return known
    }
    this.window.drop() // it may hold records that are lost
    return end < table.nextOffset ? this.#lostTail(table, end) : undefined
  }

  /** The group's settings have changed. Its order only changes while nobody holds anything. */
  configured(): void {
    const { table } = this.stored
    if (table === undefined) return
    table.retriesMax = this.#host.config.retriesMax
    if (this.stored.ordered !== this.#host.ordered) this.#renew(table.checkpoint())
    this.schedule()
  }

  describe(): QueuePartitionDescription {
    const { log } = this
    const stands = whereItStands(log, this.stored, this.#host.nowMs())
    return {
      partition: this.index,
      paused: this.paused,
      stableOffset: log.stableOffset,
      member: this.owner?.name,
      ...stands,
    }
  }

  get #names(): { topic: string; group: string; partition: number } {
    return { topic: this.#host.topic.text, group: this.#host.group, partition: this.index }
  }

  /** As soon as the log is there, so that nobody publishes before. */
  #clip(): void {
    if (this.log.state === 'online') this.stored.clip()
    else this.#watchLog()
  }

  /** The lease table; undefined while nobody knows where the log ends. */
  #open(): LeaseTable | undefined {
    if (this.stored.table === undefined) {
      if (this.log.state === 'online') this.#renew(this.stored.begin)
      else this.#watchLog()
    }
    return this.stored.table
  }

  #renew(known: QueueCheckpoint, end = this.log.stableOffset): void {
    this.stored.renew(known, end)
    this.#burials.opened(end)
    this.#intake.forget()
    this.#afterwards(true)
  }

  /** @returns true when there may be more to do now */
  #work(): boolean {
    if (this.log.state !== 'online') {
      this.#watchLog()
      return false
    }
    const table = this.#open() as LeaseTable
    if (this.log.stableOffset < table.nextOffset) {
      this.#lostTail(table, this.log.stableOffset)
      return false
    }
    this.#reading.followStart(table)
    if (!this.stored.mayLease || this.paused || this.#reading.isPausing) return false
    const nowMs = this.#host.nowMs()
    this.#endDue(table, nowMs)
    if (table.nextDueMs <= nowMs) return false // its time comes when members were heard
    const { room } = this.#host
    let taker = false
    if (room > 0) {
      const share = Math.min(room, this.#share(table))
      for (const member of this.#host.takers(this)) {
        taker = true
        const since = member.knowsLeasesFrom(this.index)
        const run = table.next(member.number, Math.min(member.messagesLeft, share), nowMs, since)
        if (run === undefined) continue
        return this.#giving.give(table, member, run, nowMs)
      }
    }
    if (!taker) {
      this.#host.hungry(this)
      if (table.nextOffset >= this.stored.buryTo) return false
    }
    if (this.#intake.mayAdmit(table)) {
      if (!this.#intake.admit(table)) {
        return this.#reading.read(table.nextOffset, this.#host.limits.deliveryBytesMax)
      }
      this.#afterwards()
      return true
    }
    if (table.needsBound) this.#host.dirty(this, true)
    if (this.stored.ordered && table.waiting > 0) this.#host.hungry(this) // others may have it
    this.#watchLog()
    return false
  }

  /**
   * What a member may be given at once while others wait too, so that all of them get work: of what there is or, where messages
   * of a key follow each other, of its keys, since whoever has one of them has the next ones as well.
   */
  #share(table: LeaseTable): number {
    const { readyMembers } = this.#host
    if (readyMembers < 2) return Number.POSITIVE_INFINITY
    const messages = table.waiting + this.log.stableOffset - table.nextOffset
    const parts = table.keys > 0 ? Math.min(table.keys, messages) : messages
    return Math.max(1, Math.ceil(parts / readyMembers))
  }

  /** After a crash of the machine the log may end before what was delivered: who holds it loses it. @returns what was known */
  #lostTail(table: LeaseTable, end: number): QueueCheckpoint {
    this.#giving.revoke(table)
    const known = table.checkpoint()
    this.#host.logger.warn('a log ends before what a queue group knew of it; the group goes on at its end', {
      ...this.#names,
      end,
      known: table.nextOffset,
    })
    table.seek(end)
    this.#afterwards()
    this.#renew(known, end)
    return known
  }

  /** What others must be told after the table was changed, and when it has to be looked at again. */
  readonly #afterwards = (urgent = false): void => {
    const { table } = this.stored
    if (table === undefined || this.#closed) return
    const { leased } = table
    const before = this.#leased
    this.#leased = leased
    const failing = table.takeFailing()
    if (failing.length > 0) this.#burials.add(failing)
    const losses = table.takeLosses()
    if (losses.length > 0) this.#host.lost(this.index, losses)
    if (urgent || table.needsBound) this.#host.dirty(this, true)
    else if (this.stored.isDirty) this.#host.dirty(this, false)
    this.#timer.arm(table.nextDueMs)
    if (leased !== before) this.#host.leasedChanged(this, leased - before)
  }

  /** Ends what is due, also when its timer has not had its turn yet: nothing is given as if it were still held. */
  #endDue(table: LeaseTable, nowMs: number): void {
    if (!this.#timer.isOver(table.nextDueMs, nowMs)) return
    table.expire(nowMs)
    this.#afterwards()
  }

  readonly #timeUp = (): void => {
    const { table } = this.stored
    if (table === undefined || this.#closed) return
    table.expire(this.#host.nowMs())
    this.#afterwards()
    this.schedule()
  }

  #watchLog(): void {
    this.#watch ??= this.log.onceChanged(() => {
      this.#watch = undefined
      if (this.stored.table === undefined) this.#clip()
      this.#wake()
    })
  }

  readonly #wake = (): void => this.schedule()
}

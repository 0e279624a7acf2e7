/**
 * How members are given messages of a queue partition: as much of the chunk at hand as they may have, leased, and handed over
 * at once or, to those who want it at most once, when it is stored as settled.
 */
import type { LeaseTable } from '../../domain/queue/lease-table.ts'
import type { ReadyRun } from '../../domain/queue/lease-types.ts'
import type { LeasedBatch } from '../../ports/index.ts'
import { cutDelivery } from './cutting.ts'
import type { Handover, Handovers } from './handovers.ts'
import type { Intake } from './intake.ts'
import type { LogWindow } from './log-window.ts'
import type { PartitionHost } from './partition-host.ts'
import type { QueueMember } from './queue-member.ts'

/** What is needed of the partition. */
interface GivingHost {
  readonly index: number
  readonly window: LogWindow
  readonly intake: Intake
  readonly handovers: Handovers
  readonly host: PartitionHost
  /** To be called when the lease table was changed. */
  afterwards(urgent?: boolean): void
  /** @returns true when it is there already */
  read(offset: number, bytesMax: number): boolean
}

export class Giving {
  readonly #parts: GivingHost

  constructor(parts: GivingHost) {
    this.#parts = parts
  }

  /** @returns true when there may be more to do now */
  give(table: LeaseTable, member: QueueMember, run: ReadyRun, nowMs: number): boolean {
    const { window, host, intake, afterwards } = this.#parts
    const at = window.find(run.from)
    if (at === -1) return this.#parts.read(run.from, this.#readBytesMax(member))
    const cut = cutDelivery(
      window.bytes,
      at,
      {
        from: run.from,
        to: run.to,
        messagesMax: Math.min(member.messagesLeft, host.room),
        bytesMax: Math.min(member.bytesLeft, host.limits.deliveryBytesMax),
        firstBytesMax: member.mayOverdraw ? Number.POSITIVE_INFINITY : member.bytesLeft,
      },
      host.checksum,
      host.expansion,
    )
    switch (cut.kind) {
      case 'short':
        member.needsBytes(cut.sizeBytes)
        return true
      case 'empty':
        table.skip(cut.from, cut.to)
        break
      case 'whole':
        table.fail(cut.from, cut.to, 'undecodable')
        break
      case 'cut': {
        if (!intake.passOver(table, cut.bytes)) this.#lease(table, member, run, cut, nowMs)
      }
    }
    afterwards()
    return true
  }

  /** These are stored as settled: whoever still wants them has them now. */
  handOver(table: LeaseTable | undefined, handovers: readonly Handover[]): void {
    if (table === undefined || handovers.length === 0) return
    const givenBack = this.#parts.handovers.stored(handovers, table, ({ member, lease, batch }) => {
      const { firstOffset: from, lastOffset, attempt } = batch
      table.settle('ack', lease, from, lastOffset + 1, this.#parts.host.nowMs())
      this.#parts.host.settled(this.#parts.index, { action: 'ack', from, to: lastOffset + 1 }, attempt)
      this.#deliver(member, batch)
    })
    this.#parts.afterwards(givenBack)
    for (const { member } of handovers) if (member.ready) this.#parts.host.ready(member)
  }

  /** Nothing of what is being stored is handed over. */
  revoke(table: LeaseTable): void {
    const { handovers, host } = this.#parts
    for (const member of handovers.revoke(table)) if (member.ready) host.ready(member)
  }

  #readBytesMax(member: QueueMember): number {
    return Math.max(1, Math.min(this.#parts.host.limits.deliveryBytesMax, Math.max(member.bytesLeft, 65_536)))
  }

  #lease(
    table: LeaseTable,
    member: QueueMember,
    run: ReadyRun,
    cut: { readonly bytes: Uint8Array; readonly from: number; readonly to: number; readonly count: number },
    nowMs: number,
  ): void {
    const { autoAck } = member
    const leaseMs = autoAck ? Number.POSITIVE_INFINITY : this.#parts.host.config.ackTimeoutMs
    const since = member.knowsLeasesFrom(this.#parts.index)
    const lease = table.lease(cut.from, cut.to, member.number, nowMs, leaseMs, since, !member.begins)
    if (lease === 0)
      throw new TypeError(`the lease table refused ${cut.from} to ${cut.to}, which it had offered`)
    const batch: LeasedBatch = {
      partition: this.#parts.index,
      lease: autoAck ? 0 : lease,
      bytes: cut.bytes,
      recordCount: cut.count,
      firstOffset: cut.from,
      lastOffset: cut.to - 1,
      attempt: run.attempt,
      redelivered: run.redelivered,
      leaseMs: autoAck ? 0 : leaseMs,
    }
    if (autoAck) this.#parts.handovers.add(member, lease, batch)
    this.#parts.afterwards(autoAck)
    this.#parts.host.served(member)
    if (!autoAck) this.#deliver(member, batch)
  }

  #deliver(member: QueueMember, batch: LeasedBatch): void {
    this.#parts.host.runner.spent(batch.bytes.length)
    member.deliver(batch)
  }
}

/**
 * Deliveries to members who want everything at most once: each is leased, stored as settled, and only then handed over. So a
 * crash passes over only what was about to be handed over, and a member that leaves before gives all of it back.
 */
import type { LeaseTable } from '../../domain/queue/lease-table.ts'
import type { LeasedBatch } from '../../ports/index.ts'
import type { QueueMember } from './queue-member.ts'

/** A delivery that waits until it is stored as settled. */
export interface Handover {
  readonly member: QueueMember
  /** What the member asked for then: it may have given that up, or ask for something else. */
  readonly demand: unknown
  readonly lease: number
  readonly batch: LeasedBatch
}

export class Handovers {
  #open: readonly Handover[] = []

  /** What is to be stored as settled, in the order of leasing. The list stays as it is. */
  get open(): readonly Handover[] {
    return this.#open
  }

  /** The member gets nothing else until this is over. */
  add(member: QueueMember, lease: number, batch: LeasedBatch): void {
    member.awaiting = true
    this.#open = [...this.#open, { member, demand: member.demand, lease, batch }]
  }

  /**
   * These are stored as settled.
   * @param table what they are leased in
   * @param hand settled and to be handed over now
   * @returns true when some of them were not wanted any more, and wait again
   */
  stored(handovers: readonly Handover[], table: LeaseTable, hand: (handover: Handover) => void): boolean {
    let givenBack = false
    for (const handover of handovers) {
      if (!this.#open.includes(handover)) continue
      this.#open = this.#open.filter((one) => one !== handover)
      const { member, demand, lease, batch } = handover
      member.awaiting = false
      const { firstOffset: from, lastOffset } = batch
      // An earlier message of one of its keys may have come back meanwhile.
      const isHeld = table.extend(lease, from, lastOffset + 1, Number.POSITIVE_INFINITY).lost === 0
      if (isHeld && demand === member.demand) hand(handover)
      else {
        table.settle('release', lease, from, lastOffset + 1, 0)
        givenBack = true
      }
    }
    return givenBack
  }

  /** Gives back what is still to be stored, of one member or of all. @returns whose */
  revoke(table: LeaseTable, of?: QueueMember): readonly QueueMember[] {
    const revoked = of === undefined ? this.#open : this.#open.filter(({ member }) => member === of)
    if (revoked.length === 0) return []
    this.#open = this.#open.filter((one) => !revoked.includes(one))
    for (const { member, lease, batch } of revoked) {
      member.awaiting = false
      table.settle('release', lease, batch.firstOffset, batch.lastOffset + 1, 0)
    }
    return revoked.map(({ member }) => member)
  }
}

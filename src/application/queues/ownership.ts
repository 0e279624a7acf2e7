/**
 * Which member owns which partition of a `partitioned` group: balanced and sticky. A partition that moves is handed on only
 * when its owner holds nothing of it any more, so that its messages are never in two hands; the others are not touched.
 */
import { assignPartitions } from '../groups/assignment.ts'
import type { HostedPartition } from './hosted-partition.ts'
import type { QueueMember } from './queue-member.ts'

export class Ownership {
  readonly #partitions: readonly HostedPartition[]
  /** Who gets a partition that moves. */
  readonly #heirs = new Map<HostedPartition, QueueMember>()

  constructor(partitions: readonly HostedPartition[]) {
    this.#partitions = partitions
  }

  /** The partitions that a member owns. */
  of(member: QueueMember): number[] {
    return this.#partitions.filter(({ owner }) => owner === member).map(({ index }) => index)
  }

  /**
   * Shares the partitions out among these members, in the order in which they joined.
   * @returns those whose partitions are others now
   */
  share(members: readonly QueueMember[]): Set<QueueMember> {
    const byName = new Map(members.map((member) => [member.name, member]))
    // By name: who comes back under a name keeps its partitions.
    const previous = this.#partitions.map((partition) => {
      const holder = this.#heirs.get(partition) ?? partition.owner
      return holder && byName.get(holder.name)
    })
    const owners = assignPartitions(previous.length, members, previous)
    const changed = new Set<QueueMember>()
    for (const [i, partition] of this.#partitions.entries()) {
      const owner = owners[i]
      this.#heirs.delete(partition)
      if (partition.owner === owner || owner === undefined) {
        if (owner === undefined) partition.owner = undefined
      } else if (partition.owner !== undefined && partition.heldBy(partition.owner) > 0) {
        this.#heirs.set(partition, owner)
      } else this.#hand(partition, owner, changed)
      partition.moving = this.#heirs.has(partition)
    }
    return changed
  }

  /** Hands a partition on that moves, when its owner holds nothing of it any more. @returns those whose partitions are others now */
  drained(partition: HostedPartition): Set<QueueMember> {
    const changed = new Set<QueueMember>()
    const heir = this.#heirs.get(partition)
    const { owner } = partition
    if (heir === undefined || (owner !== undefined && partition.heldBy(owner) > 0)) return changed
    this.#heirs.delete(partition)
    partition.moving = false
    this.#hand(partition, heir, changed)
    return changed
  }

  #hand(partition: HostedPartition, to: QueueMember, changed: Set<QueueMember>): void {
    if (partition.owner !== undefined) changed.add(partition.owner)
    partition.owner = to
    changed.add(to)
  }
}

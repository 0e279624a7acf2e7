/** What a partition of a queue group needs of its group, and of the broker. */
import type { Expansion } from '../../domain/batch/expand.ts'
import type { Loss } from '../../domain/queue/lease-types.ts'
import type {
  Checksum,
  Clock,
  Limits,
  Logger,
  OffsetRange,
  QueueConfig,
  Random,
  Settlement,
} from '../../ports/index.ts'
import type { Runner } from '../delivery/runner.ts'
import type { DeadLetters, Hooks, LiveTopic } from '../seams.ts'
import type { HostedPartition } from './hosted-partition.ts'
import type { QueueMember } from './queue-member.ts'

/** What all queue groups of a broker share. */
export interface QueueShared {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly hooks: Hooks
  readonly limits: Limits
  readonly runner: Runner
  readonly expansion: Expansion
  readonly checksum: Checksum
  readonly deadLetters: DeadLetters
  /** Unix milliseconds that nobody can set: those of the start, and what has passed since. Whole. */
  nowMs(): number
  /** How long from now until `nowMs()` is `timeMs`. */
  msUntil(timeMs: number): number
  /** The partition holds a chunk of its log: it is let go of when it is not used any more. */
  windowFilled(partition: HostedPartition): void
  /** Messages that nobody can be given. */
  skipped(records: number): void
}

export interface PartitionHost extends QueueShared {
  readonly topic: LiveTopic
  readonly group: string
  readonly config: QueueConfig
  /** True when messages of a key come in order. */
  readonly ordered: boolean
  /** The partition has something to store: now, or within the group's interval. */
  dirty(partition: HostedPartition, urgent: boolean): void
  /** Messages that the group may lease before its `inFlightMax` is reached. */
  readonly room: number
  /** How many may be given something of any one partition, about: some may have become unready since. */
  readonly readyMembers: number
  /** Who may be given something of this partition, who waits longest first. */
  takers(partition: HostedPartition): Iterable<QueueMember>
  /** It was given something: the others come first now. */
  served(member: QueueMember): void
  /** It may be given something again. */
  ready(member: QueueMember): void
  /** Nobody could be given anything: the partition is woken when that may have changed. */
  hungry(partition: HostedPartition): void
  /** Its leased messages have become so many more, or fewer. */
  leasedChanged(partition: HostedPartition, by: number): void
  lost(partition: number, losses: readonly Loss[]): void
  /** A settlement, but for `extend`, did something. `attempt` is told for `nack`. */
  settled(
    partition: number,
    settlement: Pick<Settlement, 'action' | 'from' | 'to' | 'reason'>,
    attempt: number,
  ): void
  gap(partition: number, gap: OffsetRange): void
  /** A read has ended: calls that wait for messages may have waited for it. */
  reviewTakes(): void
}

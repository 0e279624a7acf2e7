/** What others may know of a partition of a queue group: whoever shares partitions out, stores them, or wakes them. */
import type { LogWindow } from './log-window.ts'
import type { QueueMember } from './queue-member.ts'
import type { StoredTable } from './stored-table.ts'

export interface HostedPartition {
  readonly index: number
  /** In a `partitioned` group: whose it is. */
  owner: QueueMember | undefined
  /** True while it moves to another member: the owner gets nothing more, and it is handed on once he holds nothing. */
  moving: boolean
  readonly window: Pick<LogWindow, 'takeUsed' | 'drop'>
  readonly stored: Pick<StoredTable, 'checkpoint'>
  /** Messages that a member holds. */
  heldBy(member: QueueMember): number
  /** Puts it into the ring, when it is not there yet. */
  schedule(): void
}

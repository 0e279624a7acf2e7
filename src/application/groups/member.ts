/** What a group knows of a member: pushed subscriptions and polling members are the same to it. */
import type { RatatoskrError } from '../../ports/index.ts'
import type { Cursor } from '../delivery/cursor.ts'

export interface GroupMember {
  readonly name: string
  /** True for callers that gave no name: their commits need none either. */
  readonly anonymous: boolean
  /**
   * The cursors of the partitions that are now the member's, in order of partitions. Those it had before are the same
   * objects and go on; the others begin where the group left off.
   */
  assign(cursors: readonly Cursor[]): void
  /** The member is none any more. The group has forgotten it already. */
  evict(reason: RatatoskrError): void
}

/** A queue group as it looks to whoever asks about groups of either kind. */
import type { GroupDescription, QueueDescription } from '../../ports/index.ts'

/** What is settled without a gap counts as committed. */
export const asGroup = ({
  topic,
  group,
  state,
  members,
  partitions,
  lag,
}: QueueDescription): GroupDescription => ({
  topic,
  group,
  state,
  members: members.map(({ member, partitions: owned }) => ({ member, partitions: owned })),
  partitions: partitions.map(({ partition, ackedOffset, stableOffset, lag: left, member }) => ({
    partition,
    committedOffset: ackedOffset,
    metadata: '',
    stableOffset,
    lag: left,
    member,
  })),
  lag,
})

/** The queue groups of topics that were asked for: walks over all of them. */
import type { TopicState } from '../delivery/topic-state.ts'
import type { CheckpointSource } from './checkpoints.ts'
import type { ExpiringGroup } from './group-expiry.ts'
import type { HostedPartition } from './hosted-partition.ts'
import type { QueueGroup } from './queue-group.ts'

/** Every partition that has begun work. */
export function* startedPartitions(
  states: Iterable<TopicState>,
): Generator<readonly [HostedPartition, CheckpointSource], void, undefined> {
  for (const state of states) {
    for (const group of state.queues.values()) {
      const source = { topicId: state.topic.id, group: group.name, intervalMs: 0 }
      for (const partition of group.partitions) if (partition.isStarted) yield [partition, source]
    }
  }
}

/** Every group, for its expiry. */
export function* expiringGroups(
  states: Iterable<TopicState>,
  remove: (state: TopicState, group: QueueGroup) => Promise<void>,
): Generator<ExpiringGroup, void, undefined> {
  for (const state of states) {
    for (const group of state.queues.values()) {
      yield {
        topicId: state.topic.id,
        name: group.name,
        groupExpiryMs: group.config.groupExpiryMs,
        usedAtMs: group.usedAtMs,
        inUse: group.memberCount > 0,
        touch: () => group.used(),
        remove: () => remove(state, group),
      }
    }
  }
}

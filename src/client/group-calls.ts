/** The calls of a client that are about groups: offsets of stream groups, leases and settings of queue groups. */
import type {
  CommittedOffset,
  GroupDescription,
  MaybePromise,
  PartitionOffset,
  QueueChanges,
  QueueConfig,
  QueueDescription,
  SeekRequest,
  Settlement,
  SettleResult,
  StartPosition,
} from '../ports/index.ts'
import { BrokerCalls } from './broker-calls.ts'
import type { ClientCallOptions } from './call.ts'
import { listOf } from './checks.ts'
import { createQueueOptions, memberOptions, seekOptions, takeOptions } from './known-options.ts'
import type { Link } from './link.ts'
import {
  type CreateQueueOptions,
  type MemberCallOptions,
  type TakenBatches,
  type TakeOptions,
  takeBatches,
} from './queue/taking.ts'
import { checkPosition } from './start-position.ts'

/** As whom to commit. */
export interface CommitOptions extends ClientCallOptions {
  /** The member that commits, for a partition that it owns; without, only while the group has no members. */
  readonly member?: string | undefined
}

/** Which partitions to move; all otherwise. */
export interface SeekOptions extends ClientCallOptions, Pick<SeekRequest, 'partitions'> {}

/** What every client can ask of its broker, also about groups. */
export abstract class GroupCalls extends BrokerCalls {
  /** Commits offsets of a group: the next offset to read, one a partition. @throws RTK_LEASE_LOST, RTK_OFFSET_OUT_OF_RANGE */
  commit(
    topic: string,
    group: string,
    offsets: readonly CommittedOffset[],
    options: CommitOptions = {},
  ): Promise<void> {
    return this.read(
      'commit',
      options,
      (link) => link.commit(topic, { group, member: options.member, offsets: listOf('offsets', offsets) }),
      memberOptions,
    )
  }

  /** Sets where a group goes on, also while members run. @returns the offsets it resolved to */
  seek(
    topic: string,
    group: string,
    position: StartPosition,
    options: SeekOptions = {},
  ): Promise<readonly PartitionOffset[]> {
    const { partitions } = options
    const run = (link: Link): MaybePromise<readonly PartitionOffset[]> => {
      checkPosition(position)
      return link.seekGroup(topic, group, { position, partitions })
    }
    return this.call('seek', options, run, seekOptions)
  }

  listGroups(topic: string, options?: ClientCallOptions): Promise<readonly string[]> {
    return this.read('listGroups', options, (link) => link.listGroups(topic))
  }

  /** @throws RTK_GROUP_NOT_FOUND */
  describeGroup(topic: string, group: string, options?: ClientCallOptions): Promise<GroupDescription> {
    return this.read('describeGroup', options, (link) => link.describeGroup(topic, group))
  }

  /** Forgets a group without members. @throws RTK_GROUP_NOT_FOUND, RTK_INVALID_ARGUMENT while it has members */
  deleteGroup(topic: string, group: string, options?: ClientCallOptions): Promise<void> {
    return this.call('deleteGroup', options, (link) => link.deleteGroup(topic, group))
  }

  /**
   * Takes messages of a queue group without a subscription, as a member that polls: it exists until it has been silent for
   * `memberTimeoutMs`. `waitMs` comes on top of the deadline. When the answer is lost, what was taken comes again at its ack timeout.
   * @throws RTK_GROUP_MISMATCH, RTK_LIMIT_EXCEEDED, …
   */
  take(topic: string, group: string, options: TakeOptions = {}): Promise<TakenBatches> {
    const { signal: _, timeoutMs = this.context.timeoutMs, ...request } = options
    const call = { ...options, timeoutMs: timeoutMs + (options.waitMs ?? 0) }
    return this.call(
      'take',
      call,
      (link, within) => takeBatches(this.context, link, topic, { ...request, group }, within),
      takeOptions,
    )
  }

  /** Settles messages by their leases, whoever took them. Doing so again is no error. @returns a result for each: see `SettleResult` */
  settle(
    topic: string,
    group: string,
    settlements: readonly Settlement[],
    options: MemberCallOptions = {},
  ): Promise<readonly SettleResult[]> {
    return this.read(
      'settle',
      options,
      (link) =>
        link.settle(topic, {
          group,
          member: options.member,
          settlements: listOf('settlements', settlements),
        }),
      memberOptions,
    )
  }

  /** A sign of life of a member that polls. @throws RTK_LEASE_LOST when there is none of that name any more */
  heartbeat(topic: string, group: string, member: string, options?: ClientCallOptions): Promise<void> {
    return this.read('heartbeat', options, (link) => link.heartbeat(topic, group, member))
  }

  /** A member that polls leaves: what it holds comes again at once. */
  leaveQueue(topic: string, group: string, member: string, options?: ClientCallOptions): Promise<void> {
    return this.read('leaveQueue', options, (link) => link.leaveQueue(topic, group, member))
  }

  /** Creates a queue group; again with equal settings is no error. @throws RTK_GROUP_MISMATCH, RTK_INVALID_ARGUMENT */
  createQueue(
    topic: string,
    group: string,
    config: Partial<QueueConfig> = {},
    options: CreateQueueOptions = {},
  ): Promise<QueueDescription> {
    return this.read(
      'createQueue',
      options,
      (link) => link.createQueue(topic, group, config, options.from),
      createQueueOptions,
    )
  }

  /** Changes settings, and takes back those that are null; `sharing` only while the group has no members. @throws RTK_GROUP_NOT_FOUND, RTK_GROUP_MISMATCH */
  alterQueue(
    topic: string,
    group: string,
    changes: QueueChanges,
    options?: ClientCallOptions,
  ): Promise<QueueDescription> {
    return this.call('alterQueue', options, (link) => link.alterQueue(topic, group, changes))
  }

  /** @throws RTK_GROUP_NOT_FOUND, RTK_GROUP_MISMATCH for a stream group: see `describeGroup` */
  describeQueue(topic: string, group: string, options?: ClientCallOptions): Promise<QueueDescription> {
    return this.read('describeQueue', options, (link) => link.describeQueue(topic, group))
  }

  /** Stops delivery of a queue group, or of some of its partitions, until `resumeQueue`. Leases go on. @throws RTK_GROUP_NOT_FOUND */
  pauseQueue(topic: string, group: string, options: SeekOptions = {}): Promise<void> {
    return this.read(
      'pauseQueue',
      options,
      (link) => link.pauseQueue(topic, group, true, options.partitions),
      seekOptions,
    )
  }

  /** @throws RTK_GROUP_NOT_FOUND */
  resumeQueue(topic: string, group: string, options: SeekOptions = {}): Promise<void> {
    return this.read(
      'resumeQueue',
      options,
      (link) => link.pauseQueue(topic, group, false, options.partitions),
      seekOptions,
    )
  }
}

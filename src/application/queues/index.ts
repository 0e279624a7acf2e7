/** Queue groups: leased messages, each settled by whoever it was leased to. */
import { defaultQueueConfig } from '../../domain/queue/queue-config-rules.ts'
import type { Limits, Platform, StateStore } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import type { Admission } from '../delivery/admission.ts'
import type { Runner } from '../delivery/runner.ts'
import type { TopicState } from '../delivery/topic-state.ts'
import type { DeadLetters, Hooks, LiveTopic } from '../seams.ts'
import { Checkpoints } from './checkpoints.ts'
import { type ExpiringGroup, GroupExpiry } from './group-expiry.ts'
import { expiringGroups, startedPartitions } from './live-groups.ts'
import { Liveness } from './liveness.ts'
import { QueueService } from './queue-service.ts'
import { QueueStore, type StoredQueues } from './queue-store.ts'
import { Windows } from './windows.ts'

export interface QueueDependencies {
  readonly platform: Platform
  readonly limits: Limits
  readonly hooks: Hooks
  readonly stateStore: StateStore
  readonly admission: Admission
  readonly runner: Runner
  state(topic: LiveTopic): TopicState
  /** Those that were asked for. */
  states(): Iterable<TopicState>
}

/** Queue groups as the broker's delivery drives them. */
export interface QueueParts {
  readonly service: QueueService
  useDeadLetters(deadLetters: DeadLetters): void
  /** Loads what is stored. */
  load(): Promise<void>
  /** As `Delivery.logOpened`. @param state of the topic, when it was asked for @returns the writes */
  logOpened(
    topic: Pick<LiveTopic, 'id' | 'text'>,
    state: TopicState | undefined,
    partition: number,
    end: number,
  ): Promise<void>[]
  start(): void
  /** Stores what groups have come to; from the call on nobody is given anything. @throws what the state store throws */
  stop(): Promise<void>
  /** True when there are groups of the topic that it was not given yet. */
  hasStored(topicId: string): boolean
  /** Gives a topic the groups that it had. */
  restore(state: TopicState): void
  forgetTopic(topicId: string): Promise<void>
  forgetTopics(isGone: (topicId: string) => boolean): Promise<void>
}

/** Until the broker says where dead letters go, they wait. */
const nowhere: DeadLetters = {
  bury: () => Promise.reject(new RatatoskrError('RTK_UNAVAILABLE', 'there is no place for dead letters yet')),
}

export function makeQueues(dependencies: QueueDependencies): QueueParts {
  const { platform, limits, hooks, stateStore, admission, runner } = dependencies
  const { clock, logger, random, checksum, compression } = platform
  const store = new QueueStore(stateStore, logger)
  const checkpoints = new Checkpoints(store, platform)
  const windows = new Windows(clock)
  const startMs = Math.floor(clock.now() - clock.monotonic())
  let deadLetters = nowhere
  let stored = new Map<string, StoredQueues>()
  const service = new QueueService({
    limits,
    logger,
    admission,
    store,
    checkpoints,
    liveness: new Liveness(clock, logger, limits.memberTimeoutMs),
    shared: {
      clock,
      random,
      logger,
      hooks,
      limits,
      runner,
      checksum,
      expansion: { codecs: compression, bytesMax: limits.expandedBatchBytesMax },
      deadLetters: { bury: (letter) => deadLetters.bury(letter) },
      nowMs: () => startMs + Math.floor(clock.monotonic()),
      msUntil: (timeMs) => Math.max(0, timeMs - startMs - clock.monotonic()),
      windowFilled: (partition) => windows.filled(partition),
      skipped: (records) => admission.skipped(records),
    },
    state: dependencies.state,
  })
  function* expiring(): Generator<ExpiringGroup, void, undefined> {
    yield* expiringGroups(dependencies.states(), (state, group) => service.delete(state, group))
    for (const [topicId, queues] of stored) yield* expiringOf(topicId, queues, store)
  }
  const expiry = new GroupExpiry(clock, logger, expiring)
  return {
    service,
    useDeadLetters(given) {
      deadLetters = given
    },
    async load() {
      stored = await store.load(clock.now())
    },
    logOpened(topic, state, partition, end) {
      const groups = stored.get(topic.id)
      const writes = groups === undefined ? [] : store.putBack(groups, topic, partition, end)
      if (state !== undefined) writes.push(...service.putBack(state, partition, end))
      return writes
    },
    start() {
      checkpoints.start()
      expiry.start()
    },
    async stop() {
      expiry.stop()
      windows.stop()
      stored.clear()
      await checkpoints.stop(startedPartitions(dependencies.states()))
      await store.idle()
    },
    hasStored: (topicId) => stored.has(topicId),
    restore(state) {
      service.restore(state, stored.get(state.topic.id) ?? new Map())
      stored.delete(state.topic.id)
    },
    forgetTopic: (topicId) => store.removeTopic(topicId),
    async forgetTopics(isGone) {
      for (const topicId of [...stored.keys()].filter(isGone)) {
        stored.delete(topicId)
        await store.removeTopic(topicId)
      }
    },
  }
}

/** Groups of a topic that nobody has asked about yet. */
function* expiringOf(
  topicId: string,
  queues: StoredQueues,
  store: QueueStore,
): Generator<ExpiringGroup, void, undefined> {
  for (const [name, { record }] of queues) {
    const remove = async (): Promise<void> => {
      await store.remove(topicId, name)
      queues.delete(name)
    }
    const { groupExpiryMs = defaultQueueConfig.groupExpiryMs } = record.own
    yield { topicId, name, groupExpiryMs, usedAtMs: record.usedAtMs, inUse: false, touch: () => {}, remove }
  }
}

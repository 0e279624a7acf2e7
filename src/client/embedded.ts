/** The link to a broker in the same process: a session of the broker, without any protocol between. */
import type {
  BatchBytes,
  BatchReceipt,
  Clock,
  MaybePromise,
  PublishOptions,
  RatatoskrError,
  Session,
} from '../ports/index.ts'
import type { Link } from './link.ts'
import { LoopWatch } from './loop-watch.ts'
import { OutgoingBatch } from './outgoing-batch.ts'

/** A session of a broker whose partitions are in this process. */
export interface OwnSession extends Session {
  /** `publishBatch` for bytes that an `OutgoingBatch` was sealed with. */
  publishOwnBatch?(topic: string, partition: number, batch: BatchBytes): MaybePromise<BatchReceipt>
}

/**
 * The session as a link: it ends when it is closed, or when the broker stops.
 * @param stopped resolves when the broker stops, with the reason
 */
export function embeddedLink(
  session: OwnSession,
  stopped: Promise<RatatoskrError | undefined>,
  clock: Clock,
): Link {
  const loop = new LoopWatch(clock)
  const closed = Promise.withResolvers<RatatoskrError | undefined>()
  void stopped.then(closed.resolve)
  return {
    closed: closed.promise,
    brokerNow: () => clock.now(),
    createTopic: (topic, config) => session.createTopic(topic, config),
    deleteTopic: (topic) => session.deleteTopic(topic),
    listTopics: () => session.listTopics(),
    topicExists: (topic) => session.topicExists(topic),
    describeTopic: (topic) => session.describeTopic(topic),
    alterTopic: (topic, changes) => session.alterTopic(topic, changes),
    resolveTopic: (topic) => session.resolveTopic(topic),
    initProducer: () => session.initProducer(),
    publishBatch(topic, partition, batch, options) {
      const pause = loop.pause()
      // A signal would only let go of who waits, which he does himself; one for each batch would cost as much as a small one.
      if (pause === undefined) {
        const asked = unsignalled(options)
        if (asked === undefined && options instanceof OutgoingBatch && session.publishOwnBatch !== undefined)
          return session.publishOwnBatch(topic, partition, batch)
        return session.publishBatch(topic, partition, batch, asked)
      }
      return pause.then(() => session.publishBatch(topic, partition, batch, options))
    },
    publishMany: (topic, list, options) => session.publishMany(topic, list, options),
    cancelScheduled: (topic, id) => session.cancelScheduled(topic, id),
    listScheduled: (topic, request) => session.listScheduled(topic, request),
    deadLetters: (topic, request, call) => session.deadLetters(topic, request, call),
    redriveDeadLetters: (topic, request, call) => session.redriveDeadLetters(topic, request, call),
    purgeDeadLetters: (topic, request, call) => session.purgeDeadLetters(topic, request, call),
    subscribe: (topic, options, sink) => session.subscribe(topic, options, sink),
    fetch: (topic, request, call) => session.fetch(topic, request, call),
    commit: (topic, request) => session.commit(topic, request),
    seekGroup: (topic, group, request) => session.seekGroup(topic, group, request),
    listGroups: (topic) => session.listGroups(topic),
    describeGroup: (topic, group) => session.describeGroup(topic, group),
    deleteGroup: (topic, group) => session.deleteGroup(topic, group),
    consume: (topic, options, sink) => session.consume(topic, options, sink),
    take: (topic, request, call) => session.take(topic, request, call),
    settle: (topic, request) => session.settle(topic, request),
    heartbeat: (topic, group, member) => session.heartbeat(topic, group, member),
    leaveQueue: (topic, group, member) => session.leaveQueue(topic, group, member),
    createQueue: (topic, group, config, from) => session.createQueue(topic, group, config, from),
    alterQueue: (topic, group, changes) => session.alterQueue(topic, group, changes),
    describeQueue: (topic, group) => session.describeQueue(topic, group),
    pauseQueue: (topic, group, paused, partitions) => session.pauseQueue(topic, group, paused, partitions),
    offsets: (topic, position) => session.offsets(topic, position),
    topicStats: (topic) => session.topicStats(topic),
    brokerStats: () => session.brokerStats(),
    async close() {
      await session.close()
      closed.resolve(undefined)
    },
  }
}

function unsignalled(options: PublishOptions | undefined): PublishOptions | undefined {
  if (options === undefined) return undefined
  const { durability, lease } = options
  return durability === undefined && lease === undefined ? undefined : { durability, lease }
}

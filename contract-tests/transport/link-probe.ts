/** A probe out of a client link: for protocols that the TypeScript client speaks. */
import type { Link } from 'ratatoskr/client'
import {
  BatchBuilder,
  type BatchSource,
  type Credit,
  expiryOf,
  formatTopicRef,
  type LeaseProof,
  type Message,
  messagesOf,
  type OutgoingMessage,
  type Platform,
  type PublishReceipt,
  type PublishResult,
  parseUuid,
  partitionForKey,
  toRatatoskrError,
} from 'ratatoskr/ports'
import type { ProbeSink, ProbeSubscribeOptions, ProbeSubscription, TransportProbe } from './probe.ts'

/** What a probe over a link of the client is made of. */
export interface LinkProbeOptions {
  readonly link: Link
  readonly platform: Platform
  /**
   * Publishes message by message: the protocol's own operations for it, which a link does without. Without them,
   * each message goes as a batch of one.
   */
  readonly messages?: Pick<TransportProbe, 'publish' | 'publishMany'>
}

/** @see LinkProbeOptions */
export function probeOfLink({ link, platform, messages }: LinkProbeOptions): TransportProbe {
  const expansion = { codecs: platform.compression, bytesMax: 64 * 1024 * 1024 }
  // Credit of a link counts bytes of batches. Each message goes as a batch of one here, and where the suite counts
  // credit all messages are of one size: then so many messages are exactly so many times that size.
  let batchBytes = 1_024
  const expiry = { now: () => link.brokerNow() }

  const publish = async (
    topic: string,
    message: OutgoingMessage,
    durability?: PublishReceipt['durability'],
    lease?: LeaseProof,
  ): Promise<PublishReceipt> => {
    if (message.deliverAtMs !== undefined || message.delayMs !== undefined) {
      const [result] = await link.publishMany(topic, [message], { durability, lease })
      if ('error' in result) throw result.error
      return result
    }
    const { partitions } = await link.resolveTopic(topic)
    const partition =
      message.partition ?? (message.key === undefined ? 0 : partitionForKey(message.key, partitions.length))
    const id = message.id ?? platform.random.uuid()
    const builder = new BatchBuilder({ checksum: platform.checksum })
    builder.add({
      ...message,
      id: parseUuid(id),
      expiresAtMs: expiryOf(message, link.brokerNow()),
      timestampMs: message.timestampMs ?? platform.clock.now(),
    })
    const batch = builder.build()
    batchBytes = batch.length
    const receipt = await link.publishBatch(topic, partition, batch, { durability, lease })
    const [first] = receipt.duplicates ?? []
    if (first !== undefined) {
      const place = { partition: first.partition, offset: first.offset }
      return { id, ...place, durability: receipt.durability, duplicate: true }
    }
    return { id, partition, offset: receipt.baseOffset, durability: receipt.durability }
  }

  /** Messages that the broker makes batches of: their size is seen when they are read again. */
  const publishMeasured: TransportProbe['publish'] = async (topic, ...rest) => {
    const receipt = await (messages?.publish ?? publish)(topic, ...rest)
    if (messages === undefined || receipt.offset < 0) return receipt
    const { partition, offset } = receipt
    const stored = await link.fetch(topic, { partition, offset, bytesMax: 1 }).catch(() => undefined)
    batchBytes = stored?.bytes.length || batchBytes
    return receipt
  }

  return {
    createTopic: (topic, config) => link.createTopic(topic, config),
    deleteTopic: (topic) => link.deleteTopic(topic),
    alterTopic: (topic, changes) => link.alterTopic(topic, changes),
    describeTopic: (topic) => link.describeTopic(topic),
    topicExists: (topic) => link.topicExists(topic),
    listTopics: async () => (await link.listTopics()).map(formatTopicRef),
    topicStats: (topic) => link.topicStats(topic),
    publish: publishMeasured,
    publishMany:
      messages?.publishMany ??
      ((topic, list, lease) =>
        Promise.all(
          list.map(
            (message): Promise<PublishResult> =>
              publish(topic, message, undefined, lease).catch((error: unknown) => ({
                error: toRatatoskrError(error),
              })),
          ),
        )),
    publishBatch: async (topic, partition, batch, lease) =>
      link.publishBatch(topic, partition, batch, { lease }),
    subscribe: (topic, options, sink) =>
      subscribeMessages(link, topic, options, sink, { expansion, expiry }, (messages) => ({
        bytes: messages * batchBytes,
      })),
    async fetch(topic, partition, offset, waitMs = 0) {
      const { id } = await link.describeTopic(topic)
      const fetched = await link.fetch(topic, { partition, offset, waitMs })
      const source = { topic, topicId: id, partition, expansion, expiry }
      return [...messagesOf(fetched.bytes, source, fetched.fromOffset)]
    },
    commit: (topic, group, offsets) => link.commit(topic, { group, offsets }),
    describeGroup: (topic, group) => link.describeGroup(topic, group),
    scheduled: {
      list: (topic, request) => link.listScheduled(topic, request),
      cancel: (topic, id) => link.cancelScheduled(topic, id),
    },
    queues: link,
    deadLetters: link,
    close: () => link.close(),
  }
}

async function subscribeMessages(
  link: Link,
  topic: string,
  options: ProbeSubscribeOptions,
  sink: ProbeSink,
  reading: Pick<BatchSource, 'expansion' | 'expiry'>,
  creditOf: (messages: number) => Credit,
): Promise<ProbeSubscription> {
  const topicId = (await link.resolveTopic(topic)).id
  const { credit, ...rest } = options
  let over = false
  const subscription = await link.subscribe(
    topic,
    { ...rest, credit: creditOf(credit) },
    {
      assigned: sink.assigned?.bind(sink),
      dropped: sink.dropped?.bind(sink),
      ended: (reason) => {
        over = true
        sink.ended(reason)
      },
      async deliver(delivery) {
        for (const message of messagesOf(
          delivery.bytes,
          { topic, topicId, partition: delivery.partition, ...reading },
          delivery.fromOffset,
        )) {
          // What is left of a delivery that came before the end is no longer wanted.
          if (over) return
          await sink.deliver(message as Message)
        }
      },
    },
  )
  return {
    member: subscription.member,
    grant: (messages) => subscription.grant(creditOf(messages)),
    commit: (offsets) => subscription.commit(offsets),
    close: () => subscription.close(),
  }
}

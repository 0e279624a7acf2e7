/** The client of a broker in the same process: its link is a session of the broker, without any protocol between. */
import type { BrokerFacade, Credentials, Peer, RatatoskrError, Session } from '../ports/index.ts'
import type { Client } from './client.ts'
import { type ClientOptions, clientOver } from './connect-with.ts'
import type { Link } from './link.ts'

export interface EmbeddedOptions extends ClientOptions {
  readonly credentials?: Credentials | undefined
  /** Resolves when the broker stops: with the reason, or with undefined. Then the client is over. */
  readonly stopped: Promise<RatatoskrError | undefined>
}

const peer: Peer = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }

/**
 * A client of the broker.
 * @throws RTK_UNAUTHENTICATED, RTK_LIMIT_EXCEEDED, RTK_UNAVAILABLE when the broker is not running
 */
export function clientOf(broker: BrokerFacade, options: EmbeddedOptions): Promise<Client> {
  const { credentials = { kind: 'none' }, limits = broker.limits } = options
  return clientOver(
    async () => embeddedLink(await broker.connect(peer, credentials), options.stopped),
    1,
    { ...options, limits, reconnect: false },
    broker.platform,
  )
}

/** The session as a link: it ends when it is closed or when the broker stops. */
export function embeddedLink(session: Session, stopped: Promise<RatatoskrError | undefined>): Link {
  const closed = Promise.withResolvers<RatatoskrError | undefined>()
  void stopped.then(closed.resolve)
  return {
    closed: closed.promise,
    createTopic: (topic, config) => session.createTopic(topic, config),
    deleteTopic: (topic) => session.deleteTopic(topic),
    listTopics: () => session.listTopics(),
    topicExists: (topic) => session.topicExists(topic),
    describeTopic: (topic) => session.describeTopic(topic),
    alterTopic: (topic, changes) => session.alterTopic(topic, changes),
    resolveTopic: (topic) => session.resolveTopic(topic),
    publishBatch: (topic, partition, batch, options) =>
      session.publishBatch(topic, partition, batch, options),
    subscribe: (topic, options, sink) => session.subscribe(topic, options, sink),
    fetch: (topic, request, call) => session.fetch(topic, request, call),
    commit: (topic, request) => session.commit(topic, request),
    seekGroup: (topic, group, request) => session.seekGroup(topic, group, request),
    listGroups: (topic) => session.listGroups(topic),
    describeGroup: (topic, group) => session.describeGroup(topic, group),
    deleteGroup: (topic, group) => session.deleteGroup(topic, group),
    offsets: (topic, position) => session.offsets(topic, position),
    topicStats: (topic) => session.topicStats(topic),
    brokerStats: () => session.brokerStats(),
    async close() {
      await session.close()
      closed.resolve(undefined)
    },
  }
}

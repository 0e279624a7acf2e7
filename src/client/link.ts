/**
 * A link is one live connection to a broker over one protocol: what remains of a protocol once the client has taken
 * over batching, deadlines, retries, reconnection and acknowledgement. An embedded broker's `Session` is one as it is.
 *
 * A link neither reconnects nor sets deadlines: when its connection is lost it rejects what is in flight with
 * RTK_DISCONNECTED, ends its subscriptions with it, and settles `closed`.
 */
import type { RatatoskrError } from '../domain/errors.ts'
import type {
  BrokerPlace,
  Credentials,
  FetchedBatch,
  MaybePromise,
  Platform,
  QueueSession,
  Session,
} from '../ports/index.ts'

/** What a link brings of a fetch: the topic's id does not travel with each batch. */
export type LinkFetched = Omit<FetchedBatch, 'topicId'>

/** The operations of a session that the client is built on. */
export interface Link
  extends Pick<
      Session,
      | 'createTopic'
      | 'deleteTopic'
      | 'listTopics'
      | 'topicExists'
      | 'describeTopic'
      | 'alterTopic'
      | 'resolveTopic'
      | 'initProducer'
      | 'publishBatch'
      | 'publishMany'
      | 'cancelScheduled'
      | 'listScheduled'
      | 'deadLetters'
      | 'redriveDeadLetters'
      | 'purgeDeadLetters'
      | 'subscribe'
      | 'commit'
      | 'seekGroup'
      | 'listGroups'
      | 'describeGroup'
      | 'deleteGroup'
      | 'offsets'
      | 'topicStats'
      | 'brokerStats'
      | 'close'
    >,
    Omit<QueueSession, 'heartbeat' | 'leaveQueue'> {
  /** @see QueueSession.heartbeat. Rejects where a session throws. */
  heartbeat(topic: string, group: string, member: string): MaybePromise<void>
  /** @see QueueSession.leaveQueue */
  leaveQueue(topic: string, group: string, member: string): MaybePromise<void>
  /** @see Session.fetch */
  fetch(...request: Parameters<Session['fetch']>): Promise<LinkFetched>
  /** The broker's clock, in Unix milliseconds, as well as this side can tell: messages expire by it. */
  brokerNow(): number
  /** Which worker of the broker it has reached; undefined where that is of no use to know. */
  readonly place?: BrokerPlace | undefined
  /** True when it needs the bytes of a batch no more once they are acknowledged; otherwise they are the broker's. */
  readonly returnsBatches?: boolean | undefined
  /** Settles when the link is over: with the reason when it was lost, with undefined when it was closed. Never rejects. */
  readonly closed: Promise<RatatoskrError | undefined>
}

/** What a link is opened with. */
export interface LinkOptions {
  readonly credentials: Credentials
  readonly platform: Platform
  /** Aborts connecting. */
  readonly signal?: AbortSignal | undefined
  /** Largest frame or message to accept from the broker, in bytes. */
  readonly frameBytesMax: number
}

/**
 * Opens a link.
 * @throws RTK_DISCONNECTED when nobody answers there, RTK_UNAUTHENTICATED, RTK_CANCELLED
 */
export type OpenLink = (url: URL, options: LinkOptions) => Promise<Link>

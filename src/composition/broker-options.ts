/** What `createBroker` takes. */
import type {
  Authenticator,
  Authorizer,
  Limits,
  Metrics,
  Platform,
  Plugin,
  Storage,
  TopicConfig,
  Transport,
} from '../ports/index.ts'

/** What a broker is assembled from: a storage, and whatever else it is to have. */
export interface BrokerOptions {
  /** Where messages and state are kept: `diskStorage({ directory })`, `memoryStorage()`, or one of your own. */
  readonly storage: Storage
  /** Ways in, started in order. None by default: an embedded broker needs none. */
  readonly transports?: readonly Transport[]
  /** Set up in order; their hooks run in this order. */
  readonly plugins?: readonly Plugin[]
  /** Where measurements go; nowhere by default. */
  readonly metrics?: Metrics | undefined
  /** Who may connect and what they may do. By default everybody everything, and transports listen on loopback only. */
  readonly security?: { readonly authenticator: Authenticator; readonly authorizer: Authorizer } | undefined
  /** Bounds to change; see the table of limits in the README. */
  readonly limits?: Partial<Limits>
  /** Publishing or subscribing to a topic that does not exist creates it. True by default. */
  readonly autoCreateTopics?: boolean
  /** What topics are created with unless their creator says otherwise. */
  readonly topicDefaults?: Partial<TopicConfig>
  /** Walk the records of batches that producers made, beside their CRC. True by default. */
  readonly verifyRecords?: boolean
  /** Pause between sweeps that delete what topics keep no longer. One minute by default. */
  readonly retentionIntervalMs?: number
  /** Clock, randomness, checksum, codecs and logger to use instead of Node's. */
  readonly platform?: Partial<Platform>
}

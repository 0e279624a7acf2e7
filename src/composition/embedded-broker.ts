/**
 * A broker in this process: its life, and the client API on it directly. What it is assembled from is in container.ts.
 */
import type { Broker } from '../application/index.ts'
import type { PluginHost } from '../application/plugins/index.ts'
import type { Client } from '../client/client.ts'
import { type ClientOptions, clientOver } from '../client/connect-with.ts'
import { embeddedLink } from '../client/embedded.ts'
import {
  type BoundAddress,
  type BrokerFacade,
  type BrokerStats,
  type Health,
  type Platform,
  RatatoskrError,
  type Transport,
} from '../ports/index.ts'

/** The operations of a client that a broker offers itself. */
type ClientOperations = Pick<
  Client,
  | 'createTopic'
  | 'deleteTopic'
  | 'listTopics'
  | 'topicExists'
  | 'describeTopic'
  | 'alterTopic'
  | 'publish'
  | 'publishMany'
  | 'publishBatch'
  | 'producer'
  | 'subscribe'
  | 'batches'
  | 'fetch'
  | 'commit'
  | 'seek'
  | 'listGroups'
  | 'describeGroup'
  | 'deleteGroup'
  | 'offsets'
  | 'topicStats'
>

export interface EmbeddedBrokerParts {
  readonly broker: Broker
  readonly plugins: PluginHost
  readonly transports: readonly Transport[]
  readonly platform: Platform
}

/** A broker in this process. What a client can do, it does itself, with all rights. */
export class EmbeddedBroker implements ClientOperations, AsyncDisposable {
  readonly #parts: EmbeddedBrokerParts
  #client: Client | undefined
  #stopped = Promise.withResolvers<RatatoskrError | undefined>()

  /** Made by `createBroker`. */
  constructor(parts: EmbeddedBrokerParts) {
    this.#parts = parts
  }

  /** Starts storage, plugins and transports; resolves when the broker is usable. Idempotent. */
  async start(): Promise<void> {
    await this.#parts.broker.start()
    this.#client ??= await this.client()
  }

  /** Stops taking work, lets calls in flight finish, then stops everything; within `limits.stopTimeoutMs`. Idempotent. */
  async stop(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.close()
    await this.#parts.broker.stop()
    this.#stopped.resolve(new RatatoskrError('RTK_UNAVAILABLE', 'the broker was stopped'))
    this.#stopped = Promise.withResolvers()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /**
   * A client of this broker, with the same API and behaviour as one of `connect(url)`. It may do everything.
   * @throws RTK_UNAVAILABLE when the broker is not running
   */
  client(options: ClientOptions = {}): Promise<Client> {
    const { broker, platform } = this.#parts
    const limits = options.limits ?? broker.facade.limits
    const open = async () => embeddedLink(await broker.connectEmbedded(), this.#stopped.promise)
    return clientOver(open, 1, { ...options, limits, reconnect: false }, platform)
  }

  /** Where the transports listen, in their order. */
  get addresses(): readonly BoundAddress[] {
    return this.#parts.transports.flatMap(({ address }) => (address === undefined ? [] : [address]))
  }

  /** What transports and plugins get: for tests, and for transports that are not started by the broker. */
  get facade(): BrokerFacade {
    return this.#parts.broker.facade
  }

  get platform(): Platform {
    return this.#parts.platform
  }

  health(): Health {
    return this.#parts.broker.health()
  }

  stats(): BrokerStats {
    return this.#parts.broker.stats()
  }

  /** Unloads a plugin while the broker runs: its hooks vanish, its queues drain, it is closed. */
  removePlugin(name: string): Promise<void> {
    return this.#parts.plugins.remove(name)
  }

  createTopic: Client['createTopic'] = (...args) => this.#own.createTopic(...args)
  deleteTopic: Client['deleteTopic'] = (...args) => this.#own.deleteTopic(...args)
  listTopics: Client['listTopics'] = (...args) => this.#own.listTopics(...args)
  topicExists: Client['topicExists'] = (...args) => this.#own.topicExists(...args)
  describeTopic: Client['describeTopic'] = (...args) => this.#own.describeTopic(...args)
  alterTopic: Client['alterTopic'] = (...args) => this.#own.alterTopic(...args)
  publish: Client['publish'] = (...args) => this.#own.publish(...args)
  publishMany: Client['publishMany'] = (...args) => this.#own.publishMany(...args)
  publishBatch: Client['publishBatch'] = (...args) => this.#own.publishBatch(...args)
  producer: Client['producer'] = (...args) => this.#own.producer(...args)
  subscribe: Client['subscribe'] = (topic: string, ...args: unknown[]) =>
    this.#own.subscribe(topic, ...(args as [never, never?]))
  batches: Client['batches'] = (...args) => this.#own.batches(...args)
  fetch: Client['fetch'] = (...args) => this.#own.fetch(...args)
  commit: Client['commit'] = (...args) => this.#own.commit(...args)
  seek: Client['seek'] = (...args) => this.#own.seek(...args)
  listGroups: Client['listGroups'] = (...args) => this.#own.listGroups(...args)
  describeGroup: Client['describeGroup'] = (...args) => this.#own.describeGroup(...args)
  deleteGroup: Client['deleteGroup'] = (...args) => this.#own.deleteGroup(...args)
  offsets: Client['offsets'] = (...args) => this.#own.offsets(...args)
  topicStats: Client['topicStats'] = (...args) => this.#own.topicStats(...args)

  get #own(): Client {
    if (this.#client !== undefined) return this.#client
    throw new RatatoskrError('RTK_UNAVAILABLE', 'the broker is not running; call start first')
  }
}

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

  /** Makes readiness fail, and goes on serving until `stop`: for load balancers, which must look elsewhere first. */
  drain(): void {
    this.#parts.broker.drain()
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
    const open = async () =>
      embeddedLink(await broker.connectEmbedded(), this.#stopped.promise, platform.clock)
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

  createTopic: Client['createTopic'] = (...args) => this.#call((own) => own.createTopic(...args))
  deleteTopic: Client['deleteTopic'] = (...args) => this.#call((own) => own.deleteTopic(...args))
  listTopics: Client['listTopics'] = (...args) => this.#call((own) => own.listTopics(...args))
  topicExists: Client['topicExists'] = (...args) => this.#call((own) => own.topicExists(...args))
  describeTopic: Client['describeTopic'] = (...args) => this.#call((own) => own.describeTopic(...args))
  alterTopic: Client['alterTopic'] = (...args) => this.#call((own) => own.alterTopic(...args))
  publish: Client['publish'] = (...args) => this.#call((own) => own.publish(...args))
  publishMany: Client['publishMany'] = (...args) => this.#call((own) => own.publishMany(...args))
  publishBatch: Client['publishBatch'] = (...args) => this.#call((own) => own.publishBatch(...args))
  producer: Client['producer'] = (...args) => this.#own.producer(...args)
  subscribe: Client['subscribe'] = (topic: string, ...args: unknown[]) =>
    this.#call((own) => own.subscribe(topic, ...(args as [never, never?])))
  batches: Client['batches'] = (...args) => this.#call((own) => own.batches(...args))
  fetch: Client['fetch'] = (...args) => this.#call((own) => own.fetch(...args))
  commit: Client['commit'] = (...args) => this.#call((own) => own.commit(...args))
  seek: Client['seek'] = (...args) => this.#call((own) => own.seek(...args))
  listGroups: Client['listGroups'] = (...args) => this.#call((own) => own.listGroups(...args))
  describeGroup: Client['describeGroup'] = (...args) => this.#call((own) => own.describeGroup(...args))
  deleteGroup: Client['deleteGroup'] = (...args) => this.#call((own) => own.deleteGroup(...args))
  offsets: Client['offsets'] = (...args) => this.#call((own) => own.offsets(...args))
  topicStats: Client['topicStats'] = (...args) => this.#call((own) => own.topicStats(...args))

  /** Rejects while the broker is not running: who calls for a promise is never thrown at. */
  #call<T>(run: (own: Client) => Promise<T>): Promise<T> {
    return this.#client === undefined ? Promise.reject(notRunning()) : run(this.#client)
  }

  get #own(): Client {
    if (this.#client !== undefined) return this.#client
    throw notRunning()
  }
}

const notRunning = (): RatatoskrError =>
  new RatatoskrError('RTK_UNAVAILABLE', 'the broker is not running; call start first')

/**
 * A broker in this process with the client API on it directly.
 */
import type { Broker } from '../application/index.ts'
import type { Client } from '../client/client.ts'
import { type ClientOptions, clientOver } from '../client/connect-with.ts'
import { embeddedLink } from '../client/embedded.ts'
import { clientOptions, knownOptions } from '../client/known-options.ts'
import { RatatoskrError } from '../ports/index.ts'
import { type BrokerParts, ServedBroker } from './served-broker.ts'

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

/** A broker in this process. What a client can do, it does itself, with all rights. */
export class EmbeddedBroker extends ServedBroker implements ClientOperations {
  readonly #broker: Broker
  #client: Client | undefined
  #stopped = Promise.withResolvers<RatatoskrError | undefined>()

  /** Made by `createBroker`. */
  constructor(parts: BrokerParts) {
    super(parts)
    this.#broker = parts.broker
  }

  override async start(): Promise<void> {
    await super.start()
    this.#client ??= await this.client()
  }

  override async stop(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.close()
    await super.stop()
    this.#stopped.resolve(new RatatoskrError('RTK_UNAVAILABLE', 'the broker was stopped'))
    this.#stopped = Promise.withResolvers()
  }

  /**
   * A client of this broker, with the same API and behaviour as one of `connect(url)`. It may do everything.
   * @throws RTK_UNAVAILABLE when the broker is not running
   */
  async client(options: ClientOptions = {}): Promise<Client> {
    knownOptions('client', options, clientOptions)
    const { platform } = this
    const limits = options.limits ?? this.facade.limits
    const open = async () =>
      embeddedLink(await this.#broker.connectEmbedded(), this.#stopped.promise, platform.clock)
    return clientOver(open, 1, { ...options, limits, reconnect: false }, platform)
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

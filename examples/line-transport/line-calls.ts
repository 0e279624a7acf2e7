/** What the lines of one connection may ask, each a call of its session. */
import {
  type BrokerFacade,
  errorToJson,
  jsonAny,
  jsonDurability,
  jsonFields,
  jsonInteger,
  jsonLease,
  jsonList,
  jsonOneOf,
  jsonString,
  messageFromJson,
  messagesOf,
  messageToJson,
  optional,
  RatatoskrError,
  readFields,
  type Session,
  type Subscription,
  startPositionFromJson,
  subscribeShape,
  type TopicConfig,
} from 'ratatoskr/ports'

type Write = (event: object) => Promise<void> | undefined

const offsets = jsonList(
  jsonFields({ partition: jsonInteger(0), offset: jsonInteger(0), metadata: optional(jsonString) }),
)

export class LineCalls {
  readonly session: Session
  readonly #broker: BrokerFacade
  readonly #write: Write
  readonly #subscriptions = new Map<number, Subscription>()
  readonly #announced = new Map<number, () => void>()

  constructor(session: Session, broker: BrokerFacade, write: Write) {
    this.session = session
    this.#broker = broker
    this.#write = write
  }

  /** Runs a request. @returns what `ok` of the answer is */
  async run(op: string, id: number, fields: object): Promise<unknown> {
    const operation = this.#operations[op]
    if (operation === undefined) {
      throw new RatatoskrError(
        'RTK_NOT_SUPPORTED',
        `there is no operation of this name; there are ${Object.keys(this.#operations).join(', ')}`,
      )
    }
    return operation(fields, id)
  }

  /** The answer is out: events of the subscription that it began may follow. */
  answered(id: number): void {
    this.#announced.get(id)?.()
    this.#announced.delete(id)
  }

  readonly #operations: Readonly<Record<string, (fields: object, id: number) => unknown>> = {
    createTopic: (fields) => {
      const { topic, config } = readFields(fields, { topic: jsonString, config: optional(jsonAny) })
      return this.session.createTopic(topic, config as Partial<TopicConfig>)
    },
    deleteTopic: (fields) => this.session.deleteTopic(topicOf(fields)),
    alterTopic: (fields) => {
      const { topic, changes } = readFields(fields, { topic: jsonString, changes: jsonAny })
      return this.session.alterTopic(topic, changes as Partial<TopicConfig>)
    },
    describeTopic: (fields) => this.session.describeTopic(topicOf(fields)),
    topicExists: (fields) => this.session.topicExists(topicOf(fields)),
    listTopics: () => this.session.listTopics(),
    topicStats: (fields) => this.session.topicStats(topicOf(fields)),
    publish: (fields) => {
      const { topic, message, durability, lease } = readFields(fields, {
        topic: jsonString,
        message: jsonAny,
        durability: optional(jsonDurability),
        lease: optional(jsonLease),
      })
      return this.session.publish(topic, messageFromJson(message, 'base64'), { durability, lease })
    },
    publishMany: async (fields) => {
      const { topic, messages, lease } = readFields(fields, {
        topic: jsonString,
        messages: jsonList(jsonAny),
        lease: optional(jsonLease),
      })
      const results = await this.session.publishMany(
        topic,
        messages.map((message) => messageFromJson(message, 'base64')),
        { lease },
      )
      return results.map((result) => ('error' in result ? { error: errorToJson(result.error) } : result))
    },
    fetch: (fields) => this.#fetch(fields),
    subscribe: (fields, id) => this.#subscribe(fields, id),
    credit: (fields) => {
      const { subscription, messages } = readFields(fields, {
        subscription: jsonInteger(0),
        messages: jsonInteger(1),
      })
      this.#subscriptions.get(subscription)?.grant({ messages })
    },
    commitSubscription: (fields) => {
      const request = readFields(fields, { subscription: jsonInteger(0), offsets })
      return this.#subscription(request.subscription).commit(request.offsets)
    },
    unsubscribe: (fields) =>
      this.#subscriptions.get(readFields(fields, { subscription: jsonInteger(0) }).subscription)?.close(),
    commit: (fields) => {
      const { topic, ...request } = readFields(fields, { topic: jsonString, group: jsonString, offsets })
      return this.session.commit(topic, request)
    },
    describeGroup: (fields) => {
      const { topic, group } = readFields(fields, { topic: jsonString, group: jsonString })
      return this.session.describeGroup(topic, group)
    },
  }

  async #fetch(fields: object): Promise<unknown> {
    const offset = (value: unknown, path: string) =>
      typeof value === 'number'
        ? jsonInteger(0)(value, path)
        : jsonOneOf(['earliest', 'latest'] as const)(value, path)
    const { topic, ...request } = readFields(fields, {
      topic: jsonString,
      partition: jsonInteger(0),
      offset,
      waitMs: optional(jsonInteger(0)),
    })
    const fetched = await this.session.fetch(topic, request)
    const expansion = {
      codecs: this.#broker.platform.compression,
      bytesMax: this.#broker.limits.expandedBatchBytesMax,
    }
    const expiry = this.#broker.platform.clock
    const source = { topic, topicId: fetched.topicId, partition: request.partition, expansion, expiry }
    return [...messagesOf(fetched.bytes, source, fetched.fromOffset)].map((message) =>
      messageToJson(message, 'base64'),
    )
  }

  async #subscribe(fields: object, id: number): Promise<unknown> {
    const { topic, ...options } = readFields(fields, {
      topic: jsonString,
      group: optional(jsonString),
      member: optional(jsonString),
      from: optional(startPositionFromJson),
      credit: optional(jsonFields({ messages: jsonInteger(0) })),
      overflow: subscribeShape.overflow,
    })
    // The sink may be called before subscribing has settled; what it says waits until the answer is out.
    const announced = new Promise<void>((resolve) => this.#announced.set(id, resolve))
    const tell = async (event: object) => {
      await announced
      await this.#write({ subscription: id, ...event })
    }
    try {
      const subscription = await this.session.subscribeMessages(topic, options, {
        assigned: (partitions) => void tell({ event: 'assigned', partitions }),
        dropped: (messages) => void tell({ event: 'dropped', ...messages }),
        deliver: (message) => tell({ event: 'message', message: messageToJson(message, 'base64') }),
        ended: (reason) => {
          this.#subscriptions.delete(id)
          void tell({ event: 'ended', ...(reason !== undefined && { error: errorToJson(reason) }) })
        },
      })
      this.#subscriptions.set(id, subscription)
      return { member: subscription.member }
    } catch (error) {
      this.#announced.delete(id)
      throw error
    }
  }

  #subscription(id: number): Subscription {
    const found = this.#subscriptions.get(id)
    if (found === undefined)
      throw new RatatoskrError('RTK_SUBSCRIPTION_NOT_FOUND', 'no subscription of this connection has this id')
    return found
  }
}

const topicOf = (fields: object): string => readFields(fields, { topic: jsonString }).topic

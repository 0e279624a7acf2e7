/**
 * A session that is connected to a worker which is not the controller. What is about partitions alone is done here: it is
 * checked here, and goes to the partition's owner. Everything else goes to a session that the controller opens for the same
 * principal, and is checked there. Each operation is a method: one that is forgotten does not compile.
 */
import type { Limits } from '../../domain/limits.ts'
import type { OutgoingMessage } from '../../domain/message.ts'
import type {
  BatchBytes,
  BatchReceipt,
  BatchSink,
  CallOptions,
  Credit,
  FetchedBatch,
  FetchRequest,
  Grants,
  LeasedSubscription,
  LeaseSink,
  MaybePromise,
  MessageSink,
  Principal,
  ProfileRequest,
  PublishOptions,
  PublishReceipt,
  PublishResult,
  Session,
  SubscribeOptions,
  Subscription,
} from '../../ports/index.ts'
import { grantOf } from '../delivery/outlet.ts'
import type { Profiler } from '../profiler.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { Subscriber } from '../seams.ts'
import { type GateContext, SessionGate } from '../session-gate.ts'
import { SessionSubscriptions } from '../session-subscriptions.ts'
import { pack, unpack } from './packing.ts'
import type { Peer } from './peer.ts'
import type { SinkTable } from './session-host.ts'

export interface EntryContext extends GateContext {
  readonly publisher: Publisher
  readonly profiler: Profiler
  readonly limits: Limits
  readonly controller: Peer
  readonly sinks: SinkTable
  /** Tells the controller what was counted here, so that what it counts is of this moment. */
  tellCounts(): void
  /** Called once, when the session has ended. */
  closed(): void
}

/** What a sink may be told beside deliveries and its end. */
const sinkMethods = ['assigned', 'dropped', 'lost'] as const

export class EntrySession implements Session {
  readonly id: string
  readonly principal: Principal
  readonly #context: EntryContext
  readonly #gate: SessionGate
  readonly #who: Subscriber
  readonly #subscriptions: SessionSubscriptions
  /** Settles when the controller has a session for this one; undefined until it needs one. */
  #opening: Promise<unknown> | undefined
  #sinkCount = 0
  #closing: Promise<void> | undefined

  constructor(id: string, principal: Principal, grants: Grants, context: EntryContext) {
    this.id = id
    this.principal = principal
    this.#context = context
    this.#gate = new SessionGate(principal, grants, context)
    this.#who = { sessionId: id, principal, remote: true }
    this.#subscriptions = new SessionSubscriptions(context.limits.subscriptionsPerSessionMax)
  }

  async publish(topic: string, message: OutgoingMessage, options?: PublishOptions): Promise<PublishReceipt> {
    if (options?.lease !== undefined || isScheduled(message)) {
      return this.#forward('publish', [topic, message, options])
    }
    return this.#gate.publish('publish', topic, options, (live) =>
      live.config.dedupWindowMs > 0
        ? this.#forward('publish', [topic, message, options])
        : this.#context.publisher.publish(live, message, options, this.principal),
    )
  }

  async publishMany(
    topic: string,
    messages: readonly OutgoingMessage[],
    options?: PublishOptions,
  ): Promise<readonly PublishResult[]> {
    if (options?.lease !== undefined || (Array.isArray(messages) && messages.some(isScheduled))) {
      return this.#forward('publishMany', [topic, messages, options])
    }
    return this.#gate.publish('publishMany', topic, options, (live) =>
      live.config.dedupWindowMs > 0
        ? this.#forward('publishMany', [topic, messages, options])
        : this.#context.publisher.publishMany(live, messages, options, this.principal),
    )
  }

  publishBatch(
    topic: string,
    partition: number,
    batch: BatchBytes,
    options?: PublishOptions,
  ): MaybePromise<BatchReceipt> {
    if (options?.lease !== undefined) {
      return this.#forward('publishBatch', [topic, partition, batch, options])
    }
    return this.#gate.publish('publishBatch', topic, options, (live) =>
      live.config.dedupWindowMs > 0
        ? this.#forward('publishBatch', [topic, partition, batch, options])
        : this.#context.publisher.publishBatch(live, partition, batch, options, this.principal),
    )
  }

  async subscribe(topic: string, options: SubscribeOptions, sink: BatchSink): Promise<Subscription> {
    if (options?.group !== undefined) return this.#forwardSink('subscribe', topic, options, sink)
    const live = await this.#gate.topicToSubscribe('subscribe', topic, options)
    return this.#subscriptions.add(sink, (watched) =>
      this.#context.delivery.subscribe(live, options, watched, this.#who),
    )
  }

  async subscribeMessages(
    topic: string,
    options: SubscribeOptions,
    sink: MessageSink,
  ): Promise<Subscription> {
    if (options?.group !== undefined) return this.#forwardSink('subscribeMessages', topic, options, sink)
    const live = await this.#gate.topicToSubscribe('subscribeMessages', topic, options)
    return this.#subscriptions.add(sink, (watched) =>
      this.#context.delivery.subscribeMessages(live, options, watched, this.#who),
    )
  }

  async fetch(topic: string, request: FetchRequest, call?: CallOptions): Promise<FetchedBatch> {
    return this.#context.delivery.fetch(this.#gate.topic('fetch', topic, call), request, call)
  }

  consume: Session['consume'] = (topic, options, sink) => this.#forwardSink('consume', topic, options, sink)

  topicStats: Session['topicStats'] = (...args) => {
    this.#context.tellCounts()
    return this.#forward('topicStats', args)
  }

  brokerStats: Session['brokerStats'] = (...args) => {
    this.#context.tellCounts()
    return this.#forward('brokerStats', args)
  }

  /** Of this event loop: the controller's would be another's. */
  async profile(request: ProfileRequest, call?: CallOptions): Promise<Uint8Array> {
    this.#gate.assertOpen()
    this.#gate.permissions.broker('profile')
    return this.#context.profiler.take(request, this.principal, call)
  }

  createTopic: Session['createTopic'] = (...args) => this.#forward('createTopic', args)
  deleteTopic: Session['deleteTopic'] = (...args) => this.#forward('deleteTopic', args)
  listTopics: Session['listTopics'] = (...args) => this.#forward('listTopics', args)
  topicExists: Session['topicExists'] = (...args) => this.#forward('topicExists', args)
  describeTopic: Session['describeTopic'] = (...args) => this.#forward('describeTopic', args)
  alterTopic: Session['alterTopic'] = (...args) => this.#forward('alterTopic', args)
  resolveTopic: Session['resolveTopic'] = (...args) => this.#forward('resolveTopic', args)
  initProducer: Session['initProducer'] = (...args) => this.#forward('initProducer', args)
  cancelScheduled: Session['cancelScheduled'] = (...args) => this.#forward('cancelScheduled', args)
  listScheduled: Session['listScheduled'] = (...args) => this.#forward('listScheduled', args)
  deadLetters: Session['deadLetters'] = (...args) => this.#forward('deadLetters', args)
  redriveDeadLetters: Session['redriveDeadLetters'] = (...args) => this.#forward('redriveDeadLetters', args)
  purgeDeadLetters: Session['purgeDeadLetters'] = (...args) => this.#forward('purgeDeadLetters', args)
  fetchGroup: Session['fetchGroup'] = (...args) => this.#forward('fetchGroup', args)
  commit: Session['commit'] = (...args) => this.#forward('commit', args)
  seekGroup: Session['seekGroup'] = (...args) => this.#forward('seekGroup', args)
  listGroups: Session['listGroups'] = (...args) => this.#forward('listGroups', args)
  describeGroup: Session['describeGroup'] = (...args) => this.#forward('describeGroup', args)
  deleteGroup: Session['deleteGroup'] = (...args) => this.#forward('deleteGroup', args)
  take: Session['take'] = (...args) => this.#forward('take', args)
  settle: Session['settle'] = (...args) => this.#forward('settle', args)
  heartbeat: Session['heartbeat'] = (...args) => this.#forward('heartbeat', args)
  leaveQueue: Session['leaveQueue'] = (...args) => this.#forward('leaveQueue', args)
  createQueue: Session['createQueue'] = (...args) => this.#forward('createQueue', args)
  alterQueue: Session['alterQueue'] = (...args) => this.#forward('alterQueue', args)
  describeQueue: Session['describeQueue'] = (...args) => this.#forward('describeQueue', args)
  pauseQueue: Session['pauseQueue'] = (...args) => this.#forward('pauseQueue', args)
  offsets: Session['offsets'] = (...args) => this.#forward('offsets', args)

  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#closing = this.#close()
      this.#gate.close()
    }
    return this.#closing
  }

  async #close(): Promise<void> {
    try {
      await this.#subscriptions.close()
      if (this.#opening !== undefined) {
        await this.#context.controller.call('closeSession', { session: this.id })
      }
    } finally {
      this.#context.closed()
    }
  }

  /** Has the controller do it. */
  async #forward<Name extends keyof Session>(
    method: Name,
    args: readonly unknown[],
  ): Promise<
    Session[Name] extends (...args: never[]) => unknown ? Awaited<ReturnType<Session[Name]>> : never
  > {
    return (await this.#ask(method, args, undefined)) as never
  }

  async #ask(
    method: string,
    args: readonly unknown[],
    sink: { readonly key: string; readonly methods: readonly string[] } | undefined,
  ): Promise<unknown> {
    this.#gate.assertOpen()
    this.#openThere()
    const signalAt = args.findIndex(hasSignal)
    const { signal } = (args[signalAt] ?? {}) as CallOptions
    const plain = args.map((given) =>
      pack(hasSignal(given) ? { ...(given as object), signal: undefined } : given),
    )
    const takes = {
      session: this.id,
      method,
      args: plain,
      signalAt: signalAt === -1 ? undefined : signalAt,
      sink,
    }
    const { value } = await this.#context.controller.call('session', takes, undefined, signal)
    return unpack(value)
  }

  /** Opened by the first call, which need not wait for it: the controller takes things in their order. */
  #openThere(): void {
    if (this.#opening !== undefined) return
    this.#opening = this.#context.controller.call('openSession', {
      session: this.id,
      principal: this.principal,
    })
    this.#opening.catch(() => {}) // the calls that follow fail too
  }

  async #forwardSink(
    method: 'subscribe' | 'subscribeMessages' | 'consume',
    topic: string,
    options: unknown,
    sink: BatchSink | MessageSink | LeaseSink,
  ): Promise<Subscription & LeasedSubscription> {
    const { controller, sinks } = this.#context
    const key = `${this.id}/${++this.#sinkCount}`
    const methods = sinkMethods.filter((name) => name in sink && (sink as never)[name] !== undefined)
    sinks.add(key, sink)
    let fields: Subscription
    try {
      fields = (await this.#ask(method, [topic, options], { key, methods })) as Subscription
    } catch (error) {
      sinks.delete(key)
      throw error
    }
    const ask = async (name: string, ...args: unknown[]): Promise<never> => {
      const { value } = await controller.call('subscription', { key, method: name, args: args.map(pack) })
      return unpack(value) as never
    }
    const tell = (name: string, ...args: unknown[]): void =>
      controller.tell('subscription', { key, method: name, args: args.map(pack) })
    return {
      ...(fields as Subscription & LeasedSubscription),
      grant: (credit: Credit) => {
        const { creditBytesMax, creditMessagesMax } = this.#context.limits
        // Nobody is told what becomes of it there: what is wrong with it is found here.
        grantOf('bytes', credit.bytes, creditBytesMax)
        grantOf('messages', credit.messages, creditMessagesMax)
        tell('grant', credit)
      },
      commit: (offsets) => ask('commit', offsets),
      settle: (settlements) => ask('settle', settlements),
      heartbeat: () => tell('heartbeat'),
      close: () => ask('close'),
    }
  }
}

const isScheduled = (message: OutgoingMessage): boolean =>
  message?.deliverAtMs !== undefined || message?.delayMs !== undefined

const hasSignal = (given: unknown): boolean =>
  typeof given === 'object' && given !== null && (given as CallOptions).signal !== undefined

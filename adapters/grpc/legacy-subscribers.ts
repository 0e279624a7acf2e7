/** Subscriptions of the legacy service: a stream of messages each, known by the subscriber's id. */
import {
  formatTopicRef,
  type MaybePromise,
  type Message,
  type MessageSink,
  parseTopicRef,
  quoteForMessage,
  type Random,
  RatatoskrError,
  type Session,
  type Subscription,
  utf8Text,
} from 'ratatoskr/ports'
import { frameOf, legacy, type MessageFrame } from 'ratatoskr/proto'
import { type CallHost, failure, type OpenStream, StreamWriter, stopping } from './calls.ts'
import type { DuplexCall } from './data-stream.ts'
import { type Incoming, readable } from './status.ts'

type SubscribeRequest = Incoming<legacy.SubscribeRequest>
type SubscribeCall = DuplexCall<SubscribeRequest>

/** Messages that a subscriber is granted ahead, and bytes that may wait for its socket. */
const creditMessages = 1_024
const bytesWaitingMax = 256 * 1024
/** What a message takes beside its payload, roughly. */
const messageOverheadBytes = 128

export class LegacySubscribers {
  readonly #host: CallHost
  readonly #random: Random
  readonly #byKey = new Map<string, LegacySubscriber>()

  constructor(host: CallHost, random: Random) {
    this.#host = host
    this.#random = random
  }

  subscribe(call: SubscribeCall, request: SubscribeRequest): void {
    const subscriber = new LegacySubscriber(this.#host, call)
    this.#start(call, request, subscriber).catch((error: unknown) => subscriber.end(error))
  }

  /** @throws RTK_SUBSCRIPTION_NOT_FOUND */
  unsubscribe(session: Session, topic: string, subscriberId: string): void {
    const subscriber = this.#byKey.get(keyOf(session, topic, subscriberId))
    if (subscriber === undefined) {
      throw new RatatoskrError(
        'RTK_SUBSCRIPTION_NOT_FOUND',
        `the topic ${quoteForMessage(topic)} has no subscriber ${quoteForMessage(subscriberId)}`,
      )
    }
    subscriber.end()
  }

  async #start(call: SubscribeCall, request: SubscribeRequest, subscriber: LegacySubscriber): Promise<void> {
    const { topic, subscriberId } = readable(request)
    const session = await this.#host.connections.session(call)
    await assertTopicExists(session, topic)
    const key = keyOf(session, topic, subscriberId === '' ? this.#random.uuid() : subscriberId)
    // A subscriber that comes again, over a new connection perhaps, takes the place of its former self.
    this.#byKey
      .get(key)
      ?.end(new RatatoskrError('RTK_CLOSED', 'a subscriber with the same subscriber_id took over'))
    this.#byKey.set(key, subscriber)
    subscriber.onEnded(() => {
      if (this.#byKey.get(key) === subscriber) this.#byKey.delete(key)
    })
    await subscriber.start(session, topic)
  }
}

/** Subscriber ids are unique for a principal and topic: nobody ends the subscription of another. */
function keyOf(session: Session, topic: string, subscriberId: string): string {
  const { name, namespace } = session.principal
  return [name, namespace, formatTopicRef(parseTopicRef(topic, namespace)), subscriberId].join('\0')
}

class LegacySubscriber implements MessageSink, OpenStream {
  readonly #host: CallHost
  readonly #call: SubscribeCall
  readonly #writer: StreamWriter<MessageFrame>
  #subscription: Subscription | undefined
  #used = 0
  #forget: () => void = () => undefined

  constructor(host: CallHost, call: SubscribeCall) {
    this.#host = host
    this.#call = call
    this.#writer = new StreamWriter(call, bytesWaitingMax)
    host.streams.add(this)
    call.once('cancelled', () => this.end())
  }

  /** Calls `run` when the stream is over: now, if it is. */
  onEnded(run: () => void): void {
    this.#forget = run
    if (this.#writer.over) run()
  }

  async start(session: Session, topic: string): Promise<void> {
    const options = { from: 'latest', credit: { messages: creditMessages } } as const
    this.#subscription = await session.subscribeMessages(topic, options, this)
    if (this.#writer.over) this.#close()
    // The headers tell the client that it misses nothing from here on.
    else this.#call.begin()
  }

  deliver(message: Message): MaybePromise<void> {
    this.#used++
    if (this.#used >= creditMessages / 2 && this.#subscription !== undefined) {
      this.#subscription.grant({ messages: this.#used })
      this.#used = 0
    }
    const { id, topic, payload, timestampMs } = message
    const metadata = new Map(message.headers.map(([name, value]) => [name, utf8Text(value)]))
    const sizeBytes = payload.length + messageOverheadBytes
    const response = { id, topic, payload, metadata, timestamp: timestampMs }
    return this.#writer.write(frameOf(legacy.Message.encode(response).finish()), sizeBytes)
  }

  ended(reason: RatatoskrError | undefined): void {
    this.end(reason)
  }

  drain(): void {
    this.end(stopping())
  }

  end(thrown?: unknown): void {
    this.#host.streams.delete(this)
    this.#writer.end(thrown === undefined ? undefined : failure(this.#host, thrown))
    this.#forget()
    this.#close()
  }

  #close(): void {
    this.#subscription?.close().catch((error: unknown) => {
      this.#host.logger.warn('subscription did not close', { error })
    })
  }
}

/** Stands before what the broker would create a topic for. @throws RTK_TOPIC_NOT_FOUND */
export async function assertTopicExists(session: Session, topic: string): Promise<void> {
  if (await session.topicExists(topic)) return
  throw new RatatoskrError('RTK_TOPIC_NOT_FOUND', `the topic ${quoteForMessage(topic)} does not exist`)
}

/**
 * The client: one API over every link. It adds to a link what no protocol should have to bring along: deadlines and
 * cancellation, batching, reconnection, acknowledgement.
 */
import type { PublishReceipt, PublishResult, RatatoskrError } from '../ports/index.ts'
import { type BatchesOptions, BatchSubscription } from './batch-subscription.ts'
import { type ClientCallOptions, withDeadline } from './call.ts'
import type { ConnectionPool } from './connection-pool.ts'
import type { ClientContext } from './context.ts'
import { GroupCalls } from './group-calls.ts'
import { batchesOptions, knownOptions, producerOptions, subscribeOptions } from './known-options.ts'
import type { MessageToPublish } from './outgoing.ts'
import { Producer } from './producer.ts'
import type { ProducerOptions, PublishManyOptions, PublishOptions } from './producer-options.ts'
import { checkPosition } from './start-position.ts'
import {
  type HandlerOptions,
  type MessageHandler,
  type SubscribeOptions,
  Subscription,
} from './subscription.ts'

interface Closable {
  close(options?: ClientCallOptions): Promise<void>
}

/** A client of a broker: everything that one can ask of it, over any link. */
export class Client extends GroupCalls implements AsyncDisposable {
  readonly #pool: ConnectionPool
  readonly #subscriptions = new Set<Closable>()
  readonly #producers = new Set<Producer>()
  #producer: Producer | undefined
  #closing: Promise<void> | undefined

  /** Made by `connect` and by `broker.client()`. */
  constructor(context: ClientContext, pool: ConnectionPool) {
    super(context)
    this.#pool = pool
    void pool.closed.then(() => this.close())
  }

  /** Settles when the client is over: with the reason when a connection of it was given up, with undefined when it was closed. */
  get closed(): Promise<RatatoskrError | undefined> {
    return this.#pool.closed
  }

  /**
   * Publishes one message and resolves when it is as durable as asked. Messages of one event-loop turn travel together.
   * @param payload bytes, or text that is stored as UTF-8
   */
  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#ownProducer.publish(topic, payload, options)
  }

  /** Publishes many, each on its own: see `Producer.publishMany`. */
  publishMany(
    topic: string,
    messages: readonly MessageToPublish[],
    options?: PublishManyOptions,
  ): Promise<readonly PublishResult[]> {
    return this.#ownProducer.publishMany(topic, messages, options)
  }

  /** A producer of its own, with its own buffer and batches. */
  producer(options: ProducerOptions = {}): Producer {
    knownOptions('producer', options, producerOptions)
    const berth = this.#pool.berth()
    try {
      const producer = new Producer(options, {
        ...this.context,
        connection: berth.connection,
        closed: (closed) => {
          berth.leave()
          this.#producers.delete(closed)
        },
      })
      this.#producers.add(producer)
      return producer
    } catch (error) {
      berth.leave()
      throw error
    }
  }

  /**
   * Subscribes, with a handler or to be iterated: `for await (const message of await client.subscribe('orders'))`.
   * `signal` and `timeoutMs` are for subscribing; `Subscription.close` ends it.
   * @throws RTK_TOPIC_NOT_FOUND, RTK_OFFSET_OUT_OF_RANGE, RTK_LIMIT_EXCEEDED, …
   */
  subscribe(topic: string, handler: MessageHandler, options?: HandlerOptions): Promise<Subscription>
  subscribe(topic: string, options?: SubscribeOptions): Promise<Subscription>
  subscribe(
    topic: string,
    handlerOrOptions: MessageHandler | SubscribeOptions = {},
    handlerOptions: HandlerOptions = {},
  ): Promise<Subscription> {
    const handler = typeof handlerOrOptions === 'function' ? handlerOrOptions : undefined
    const options = typeof handlerOrOptions === 'function' ? handlerOptions : handlerOrOptions
    return this.#opened('subscribe', options, (context, signal, removed) => {
      knownOptions('subscribe', options, subscribeOptions)
      if (options.from !== undefined) checkPosition(options.from)
      return Subscription.open(context, topic, handler, options, removed, signal)
    })
  }

  /** Subscribes to whole record batches: the fast way to read. @throws as `subscribe` */
  batches(topic: string, options: BatchesOptions = {}): Promise<BatchSubscription> {
    return this.#opened('batches', options, (context, signal, removed) => {
      knownOptions('batches', options, batchesOptions)
      if (options.from !== undefined) checkPosition(options.from)
      return BatchSubscription.open(context, topic, options, removed, signal)
    })
  }

  /**
   * Closes producers and subscriptions, which send and commit what they hold, then the connections. At the deadline
   * whatever is left is cut, also while a dead broker is being called. Idempotent.
   */
  close(options: ClientCallOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(options: ClientCallOptions): Promise<void> {
    const { platform, timeoutMs } = this.context
    try {
      await withDeadline(platform.clock, 'close', options, timeoutMs, async (signal) => {
        const call = { signal, timeoutMs: Number.POSITIVE_INFINITY }
        // Handlers that are running may still publish: producers go after them.
        await Promise.allSettled([...this.#subscriptions].map((one) => one.close(call)))
        await Promise.allSettled([...this.#producers].map((one) => one.close(call)))
      })
    } catch {
      // The deadline has passed: closing the connection fails what is left.
    } finally {
      await this.#pool.close()
    }
  }

  get #ownProducer(): Producer {
    this.#producer ??= this.producer({ lingerMs: 0 })
    return this.#producer
  }

  /** Opens something that the client closes with itself, on a connection where it stays. */
  async #opened<T extends Closable>(
    what: string,
    options: ClientCallOptions,
    open: (context: ClientContext, signal: AbortSignal, removed: (closable: Closable) => void) => Promise<T>,
  ): Promise<T> {
    const { platform, timeoutMs } = this.context
    const berth = this.#pool.berth()
    const context = { ...this.context, connection: berth.connection }
    const removed = (closable: Closable): void => {
      berth.leave()
      this.#subscriptions.delete(closable)
    }
    try {
      const opened = await withDeadline(platform.clock, what, options, timeoutMs, (signal) =>
        open(context, signal, removed),
      )
      this.#subscriptions.add(opened)
      return opened
    } catch (error) {
      berth.leave()
      throw error
    }
  }
}

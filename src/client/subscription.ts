/**
 * Subscriptions as people hold them: with a handler that is called for each message, or to be iterated. With a group the
 * messages are leased and settled one by one; without, every message comes, each partition in order.
 *
 * Both survive the loss of the connection: that is an event, never an end.
 */
import type { MaybePromise, RatatoskrError } from '../ports/index.ts'
import type { ClientCallOptions } from './call.ts'
import { withDeadline } from './call.ts'
import { wholeNumber } from './checks.ts'
import type { ClientMessage } from './client-message.ts'
import type { ConsumeOptions } from './consume-options.ts'
import { Consumer } from './consumer.ts'
import type { ClientContext } from './context.ts'
import { LoopWatch } from './loop-watch.ts'
import type { MessageSource } from './message-source.ts'
import { QueueConsumer } from './queue/queue-consumer.ts'

/** Handles one message: returning acknowledges it, throwing gives it back, unless `ack` is `manual`. */
export type MessageHandler = (message: ClientMessage) => unknown

/** What to read and how, and the deadline of subscribing. */
export interface SubscribeOptions extends ConsumeOptions, ClientCallOptions {}

/** The same for a subscription with a handler. */
export interface HandlerOptions extends SubscribeOptions {
  /**
   * Messages that are handled at the same time. Without a group one of each partition, and all partitions by default. With
   * a group 1 by default; where more, and the group keeps the order of keys, the messages of a key still go one after the other.
   */
  readonly concurrency?: number | undefined
}

/** A subscription that runs until it is closed, or fails. */
export class Subscription implements AsyncIterable<ClientMessage>, AsyncDisposable {
  readonly #context: ClientContext
  readonly #source: MessageSource
  readonly #handler: MessageHandler | undefined
  readonly #concurrency: number
  readonly #waiting: PromiseWithResolvers<void>[] = []
  readonly #removed: (subscription: Subscription) => void
  /** Lets the event loop go on in time, however fast messages are handled. */
  readonly #loop: LoopWatch
  /** Handlers whose promise is open. */
  #running = 0
  #starting = false
  #idle: PromiseWithResolvers<void> | undefined
  #closing: Promise<void> | undefined

  private constructor(
    context: ClientContext,
    handler: MessageHandler | undefined,
    options: HandlerOptions,
    removed: (subscription: Subscription) => void,
  ) {
    this.#context = context
    this.#handler = handler
    const { concurrency, group } = options
    const otherwise = group === undefined ? Number.POSITIVE_INFINITY : 1
    this.#concurrency = concurrency === undefined ? otherwise : wholeNumber('concurrency', concurrency, 1)
    this.#source =
      group === undefined ? new Consumer(context, options) : new QueueConsumer(context, options, group)
    this.#source.wake = handler === undefined ? () => this.#wakeIterators() : () => this.#startHandlers()
    this.#removed = removed
    this.#loop = new LoopWatch(context.platform.clock)
    void this.#source.closed.then(() => removed(this))
  }

  /** Subscribes. @throws as `Session.subscribe` and `QueueSession.consume` do */
  static async open(
    context: ClientContext,
    topic: string,
    handler: MessageHandler | undefined,
    options: HandlerOptions,
    removed: (subscription: Subscription) => void,
    signal: AbortSignal,
  ): Promise<Subscription> {
    const subscription = new Subscription(context, handler, options, removed)
    await subscription.#source.open(topic, signal)
    return subscription
  }

  get topic(): string {
    return this.#source.topic
  }

  /** Name within the group; empty without a group. */
  get member(): string {
    return this.#source.member
  }

  /**
   * Messages that were passed over because they had expired when their turn came, by the broker's clock as the client
   * reckons it. In a group they were given back, and the broker decides what becomes of them.
   */
  get expiredCount(): number {
    return this.#source.expiredCount
  }

  /** Settles when the subscription is over: with the reason when it failed, with undefined when it was closed. */
  get closed(): Promise<RatatoskrError | undefined> {
    return this.#source.closed
  }

  /** Changes `maxInFlight`. In a group, what waits here beyond it is given back. @throws RTK_INVALID_ARGUMENT */
  setMaxInFlight(messages: number): void {
    this.#source.setMaxInFlight(messages)
  }

  /**
   * The messages, until the subscription is closed; throws the reason when it fails. With `ack: 'auto'` asking for the
   * next message acknowledges the one before: a loop that is left by `break` or a throw leaves its last message
   * unacknowledged and closes the subscription. Several iterators share the messages.
   */
  [Symbol.asyncIterator](): AsyncIterator<ClientMessage, undefined> {
    this.#assertNoHandler()
    const source = this.#source
    const loop = new LoopWatch(this.#context.platform.clock)
    let given: ClientMessage | undefined
    const give = (message: ClientMessage | undefined): IteratorResult<ClientMessage, undefined> => {
      given = message
      return message === undefined ? { done: true, value: undefined } : { done: false, value: message }
    }
    return {
      next: () => {
        if (given !== undefined) source.finished(given)
        given = undefined
        const pause = loop.pause()
        if (pause !== undefined) return pause.then(() => this.#next(give))
        const message = source.take('iterator')
        if (message === undefined) return this.#next(give)
        const begun = source.begin(message)
        if (begun === true) return Promise.resolve(give(message))
        return this.#begun(message, begun, give)
      },
      return: async () => {
        await this.close()
        return { done: true, value: undefined }
      },
    }
  }

  /**
   * Takes up to `max` messages, waiting for the first until the deadline: pulling instead of being called. They are to be
   * settled one by one, and in a group their leases run: `extend` those that take long. @returns none when there was nothing in time
   */
  async take(
    max: number,
    options: ClientCallOptions & { readonly waitMs?: number } = {},
  ): Promise<ClientMessage[]> {
    this.#assertNoHandler()
    const { clock } = this.#context.platform
    const { waitMs = 0, signal } = options
    let messages: ClientMessage[] = []
    const deadlineMs = clock.monotonic() + waitMs
    for (;;) {
      while (messages.length < max) {
        const message = this.#source.take('pulled')
        if (message === undefined) break
        messages.push(message)
      }
      const begun = messages.map((message) => this.#source.begin(message))
      if (begun.some((may) => may !== true)) {
        const may = await Promise.all(begun)
        messages = messages.filter((_, place) => may[place])
      }
      const leftMs = deadlineMs - clock.monotonic()
      if (messages.length > 0 || leftMs <= 0 || this.#source.over) return messages
      await withDeadline(clock, 'take', { signal, timeoutMs: leftMs }, leftMs, () =>
        this.#mayHaveMore(),
      ).catch((error) => {
        if (signal?.aborted) throw error
      })
    }
  }

  /** Resolves when the broker has answered everything that was settled before. */
  async flush(options: ClientCallOptions = {}): Promise<void> {
    const { platform, timeoutMs } = this.#context
    await withDeadline(platform.clock, 'flush', options, timeoutMs, () => this.#source.flush())
  }

  /**
   * Ends the subscription. No handler is called any more, and in a group what waits here is given back at once. Resolves
   * when handlers that were running have finished, and what they settled has reached the broker. At the deadline it stops
   * waiting: what was not settled comes again. Do not await it within the handler. Idempotent.
   */
  close(options: ClientCallOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(options: ClientCallOptions): Promise<void> {
    const { platform, limits } = this.#context
    this.#source.stop()
    this.#wakeIterators()
    try {
      await withDeadline(platform.clock, 'close', options, limits.stopTimeoutMs, async (signal) => {
        if (this.#running > 0) {
          this.#idle = Promise.withResolvers<void>()
          await this.#idle.promise
        }
        await this.#source.close(signal)
      })
    } finally {
      this.#source.end(undefined)
      this.#removed(this)
    }
  }

  #assertNoHandler(): void {
    if (this.#handler !== undefined)
      throw new TypeError('a subscription with a handler cannot be read as well')
  }

  /** @param give makes what the iterator returns of a message, or of the end */
  async #next<T>(give: (message: ClientMessage | undefined) => T): Promise<T> {
    for (;;) {
      const message = this.#source.take('iterator')
      if (message !== undefined) {
        const begun = this.#source.begin(message)
        if (begun === true || (await begun)) return give(message)
        continue
      }
      if (this.#source.reason !== undefined) throw this.#source.reason
      if (this.#source.stopped) return give(undefined)
      await this.#mayHaveMore()
    }
  }

  /** A message whose begin is asked for, or the next one when it must not begin. */
  async #begun<T>(
    message: ClientMessage,
    begun: MaybePromise<boolean>,
    give: (message: ClientMessage | undefined) => T,
  ): Promise<T> {
    return (await begun) ? give(message) : this.#next(give)
  }

  /** Resolves when it is worth asking for a message again. */
  #mayHaveMore(): Promise<void> {
    const waiting = Promise.withResolvers<void>()
    this.#waiting.push(waiting)
    return waiting.promise
  }

  #wakeIterators(): void {
    if (this.#waiting.length === 1) this.#waiting.pop()?.resolve()
    else for (const waiting of this.#waiting.splice(0)) waiting.resolve()
  }

  readonly #goOn = (): void => {
    this.#starting = false
    this.#startHandlers()
  }

  #startHandlers(): void {
    if (this.#starting) return
    this.#starting = true
    for (let count = 0; this.#running < this.#concurrency; count++) {
      const pause = this.#loop.pause()
      if (pause !== undefined) {
        void pause.then(this.#goOn)
        return
      }
      if (count === handledAtOnceMax) {
        queueMicrotask(this.#goOn)
        return
      }
      const message = this.#source.take('handler')
      if (message === undefined) break
      const begun = this.#source.begin(message)
      if (begun === true) this.#handle(message)
      else void this.#handleBegun(message, begun)
    }
    this.#starting = false
  }

  /** Its handler has its place from now on, and is called when the begin is answered. */
  async #handleBegun(message: ClientMessage, begun: MaybePromise<boolean>): Promise<void> {
    this.#running++
    const may = await begun
    this.#running--
    if (may) this.#handle(message)
    if (this.#running === 0) this.#idle?.resolve()
    this.#startHandlers()
  }

  #handle(message: ClientMessage): void {
    let result: unknown
    try {
      result = (this.#handler as MessageHandler)(message)
    } catch (reason) {
      this.#source.finished(message, { reason })
      return
    }
    if (!isThenable(result)) {
      this.#source.finished(message)
      return
    }
    this.#running++
    const finish = (failure?: { readonly reason: unknown }): void => {
      this.#source.finished(message, failure)
      if (--this.#running === 0) this.#idle?.resolve()
      this.#startHandlers()
    }
    Promise.resolve(result).then(
      () => finish(),
      (reason: unknown) => finish({ reason }),
    )
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value

/** Messages that are handled without letting promises settle: whoever waits for an answer to one is not kept for long. */
const handledAtOnceMax = 64

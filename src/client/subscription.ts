/**
 * Subscriptions as people hold them: with a handler that is called for each message, or to be iterated.
 *
 * A handler runs for one message of a partition at a time, so that order holds, and for several partitions at once. Both
 * kinds survive the loss of the connection: that is an event, never an end.
 */
import type { Clock, RatatoskrError } from '../ports/index.ts'
import type { ClientCallOptions } from './call.ts'
import { withDeadline } from './call.ts'
import { wholeNumber } from './checks.ts'
import type { ClientMessage } from './client-message.ts'
import { type ConsumeOptions, Consumer } from './consumer.ts'
import type { ClientContext } from './context.ts'
import type { Lane } from './lane.ts'

/** Handles one message: returning acknowledges it, throwing gives it back, unless `ack` is `manual`. */
export type MessageHandler = (message: ClientMessage) => unknown

/** What to read and how, and the deadline of subscribing. */
export interface SubscribeOptions extends ConsumeOptions, ClientCallOptions {}

/** The same for a subscription with a handler. */
export interface HandlerOptions extends SubscribeOptions {
  /** Partitions that are handled at the same time; all of them by default. */
  readonly concurrency?: number | undefined
}

/** A subscription that runs until it is closed, or fails. */
export class Subscription implements AsyncIterable<ClientMessage>, AsyncDisposable {
  readonly #context: ClientContext
  readonly #consumer: Consumer
  readonly #handler: MessageHandler | undefined
  readonly #concurrency: number
  readonly #waiting: PromiseWithResolvers<void>[] = []
  readonly #removed: (subscription: Subscription) => void
  #running = 0
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
    const { concurrency } = options
    this.#concurrency =
      concurrency === undefined ? Number.POSITIVE_INFINITY : wholeNumber('concurrency', concurrency, 1)
    this.#consumer = new Consumer(context, options)
    this.#consumer.wake = handler === undefined ? () => this.#wakeIterators() : () => this.#startHandlers()
    this.#removed = removed
    void this.#consumer.closed.then(() => removed(this))
  }

  /** Subscribes. @throws as `Session.subscribe` does */
  static async open(
    context: ClientContext,
    topic: string,
    handler: MessageHandler | undefined,
    options: HandlerOptions,
    removed: (subscription: Subscription) => void,
    signal: AbortSignal,
  ): Promise<Subscription> {
    const subscription = new Subscription(context, handler, options, removed)
    await subscription.#consumer.open(topic, signal)
    return subscription
  }

  get topic(): string {
    return this.#consumer.live.facts.text
  }

  /** Name within the group; empty without a group. */
  get member(): string {
    return this.#consumer.live.member
  }

  /**
   * Messages that were passed over because they had expired when their turn came, by the broker's clock as the client
   * reckons it. They count as acknowledged.
   */
  get expiredCount(): number {
    return this.#consumer.expiredCount
  }

  /** Settles when the subscription is over: with the reason when it failed, with undefined when it was closed. */
  get closed(): Promise<RatatoskrError | undefined> {
    return this.#consumer.closed
  }

  /**
   * The messages, until the subscription is closed; throws the reason when it fails. With `ack: 'auto'` asking for the
   * next message acknowledges the one before: a loop that is left by `break` or a throw leaves its last message
   * unacknowledged and closes the subscription. Several iterators share the messages.
   */
  [Symbol.asyncIterator](): AsyncIterator<ClientMessage, undefined> {
    if (this.#handler !== undefined)
      throw new TypeError('a subscription with a handler cannot be iterated as well')
    let given: ClientMessage | undefined
    const breather = new Breather(this.#context.platform.clock)
    return {
      next: async () => {
        if (this.#consumer.settlesItself) given?.ack()
        given = undefined
        if (breather.isDue) await breather.breathe()
        given = await this.#next()
        return given === undefined ? { done: true, value: undefined } : { done: false, value: given }
      },
      return: async () => {
        await this.close()
        return { done: true, value: undefined }
      },
    }
  }

  /**
   * Takes up to `max` messages, waiting for the first until the deadline: pulling instead of being called. They are to be
   * acknowledged one by one. @returns none when there was nothing in time
   */
  async take(
    max: number,
    options: ClientCallOptions & { readonly waitMs?: number } = {},
  ): Promise<ClientMessage[]> {
    this.#assertNoHandler()
    const { clock } = this.#context.platform
    const { waitMs = 0, signal } = options
    const messages: ClientMessage[] = []
    const deadlineMs = clock.monotonic() + waitMs
    for (;;) {
      while (messages.length < max) {
        const message = this.#consumer.take()
        if (message === undefined) break
        messages.push(message)
      }
      const leftMs = deadlineMs - clock.monotonic()
      if (messages.length > 0 || leftMs <= 0 || this.#consumer.over) return messages
      await withDeadline(clock, 'take', { signal, timeoutMs: leftMs }, leftMs, () =>
        this.#mayHaveMore(),
      ).catch((error) => {
        if (signal?.aborted) throw error
      })
    }
  }

  /** Commits what is acknowledged now, and resolves when it is stored. */
  async commit(options: ClientCallOptions = {}): Promise<void> {
    const { platform, timeoutMs } = this.#context
    await withDeadline(platform.clock, 'commit', options, timeoutMs, () => this.#consumer.commit())
  }

  /**
   * Ends the subscription. Resolves when handlers that were running have finished, what they acknowledged is committed, and
   * no further call will come. At the deadline it stops waiting. Do not await it within the handler. Idempotent.
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
    this.#consumer.stop()
    this.#wakeIterators()
    try {
      await withDeadline(platform.clock, 'close', options, limits.stopTimeoutMs, async (signal) => {
        if (this.#running > 0) {
          this.#idle = Promise.withResolvers<void>()
          await this.#idle.promise
        }
        await this.#consumer.close(signal)
      })
    } finally {
      this.#consumer.end(undefined)
      this.#removed(this)
    }
  }

  #assertNoHandler(): void {
    if (this.#handler !== undefined)
      throw new TypeError('a subscription with a handler cannot be read as well')
  }

  async #next(): Promise<ClientMessage | undefined> {
    for (;;) {
      const message = this.#consumer.take()
      if (message !== undefined) return message
      if (this.#consumer.reason !== undefined) throw this.#consumer.reason
      if (this.#consumer.stopped) return undefined
      await this.#mayHaveMore()
    }
  }

  /** Resolves when it is worth asking for a message again. */
  #mayHaveMore(): Promise<void> {
    const waiting = Promise.withResolvers<void>()
    this.#waiting.push(waiting)
    return waiting.promise
  }

  #wakeIterators(): void {
    for (const waiting of this.#waiting.splice(0)) waiting.resolve()
  }

  #startHandlers(): void {
    while (this.#running < this.#concurrency) {
      const lane = this.#consumer.readyLane()
      if (lane === undefined) return
      void this.#handleLane(lane)
    }
  }

  /** Handles a lane's messages one after the other, until it has none or others should have a turn. */
  async #handleLane(lane: Lane): Promise<void> {
    const breather = new Breather(this.#context.platform.clock)
    lane.busy = true
    this.#running++
    try {
      for (;;) {
        const message = this.#consumer.take(lane)
        if (message === undefined) break
        await this.#handle(message)
        if (breather.isDue) await breather.breathe()
        if (this.#running >= this.#concurrency && lane.betweenDeliveries) break
      }
    } finally {
      lane.busy = false
      this.#running--
      if (this.#running === 0) this.#idle?.resolve()
    }
    this.#startHandlers()
  }

  async #handle(message: ClientMessage): Promise<void> {
    try {
      const result = (this.#handler as MessageHandler)(message)
      if (isThenable(result)) await result
      if (this.#consumer.settlesItself) message.ack()
    } catch (reason) {
      message.nack({ reason })
    }
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value

// Work of this long without a pause keeps sockets and timers waiting.
const breathAfterMs = 10
const messagesPerLook = 64

/** Lets the event loop go on in time, however fast messages are handled. */
class Breather {
  readonly #clock: Clock
  #count = 0
  #sinceMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#sinceMs = clock.monotonic()
  }

  get isDue(): boolean {
    if (++this.#count < messagesPerLook) return false
    this.#count = 0
    return this.#clock.monotonic() - this.#sinceMs > breathAfterMs
  }

  breathe(): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(0, () => {
        this.#sinceMs = this.#clock.monotonic()
        resolve()
      })
    })
  }
}

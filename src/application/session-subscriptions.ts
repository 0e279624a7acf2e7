/** The subscriptions of one session, of either kind: counted, bounded, and ended with it. */
import { RatatoskrError } from '../domain/errors.ts'

/** What all kinds of sink have in common. */
interface Endable {
  ended(reason: RatatoskrError | undefined): unknown
}

/** What all kinds of subscription have in common. */
interface Closable {
  close(): Promise<void>
}

export class SessionSubscriptions {
  readonly #max: number
  readonly #open = new Set<Closable>()
  #opening = 0
  #closed = false

  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#open.size
  }

  /**
   * Opens a subscription on a sink that tells this session when it ended.
   * @throws RTK_LIMIT_EXCEEDED, RTK_CLOSED when the session was closed meanwhile, what `open` throws
   */
  async add<Sink extends Endable, Opened extends Closable>(
    sink: Sink,
    open: (sink: Sink) => Promise<Opened>,
  ): Promise<Opened> {
    if (this.#open.size + this.#opening >= this.#max) {
      throw new RatatoskrError(
        'RTK_LIMIT_EXCEEDED',
        `the session has ${this.#max} subscriptions already (subscriptionsPerSessionMax); close some or raise the limit`,
      )
    }
    const watched = new WatchedSink(sink, this.#open)
    this.#opening++
    let subscription: Opened
    try {
      subscription = await open(watched as unknown as Sink)
    } finally {
      this.#opening--
    }
    if (this.#closed) {
      await subscription.close()
      throw sessionClosedError()
    }
    watched.began(subscription)
    return subscription
  }

  /** Ends them all. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(Array.from(this.#open, (subscription) => subscription.close()))
    this.#open.clear()
  }
}

/** What sinks may be called with beside their end. */
type Called = Partial<
  Record<'deliver' | 'lost' | 'assigned' | 'dropped', (...args: unknown[]) => unknown>
> & {
  readonly givesBack?: boolean
}

/** The same sink, whose end is noticed. Its own methods are called on itself, so that class instances work. */
class WatchedSink implements Endable, Called {
  readonly #sink: Endable & Called
  readonly #open: Set<Closable>
  #subscription: Closable | undefined
  #ended = false

  /** @param open where the subscription is kept from when it has begun until it ends */
  constructor(sink: Endable, open: Set<Closable>) {
    this.#sink = sink
    this.#open = open
  }

  get givesBack(): boolean {
    return this.#sink.givesBack === true
  }

  began(subscription: Closable): void {
    if (this.#ended) return
    this.#subscription = subscription
    this.#open.add(subscription)
  }

  ended(reason: RatatoskrError | undefined): unknown {
    this.#ended = true
    if (this.#subscription !== undefined) this.#open.delete(this.#subscription)
    return this.#sink.ended(reason)
  }

  deliver(delivery: unknown): unknown {
    return this.#sink.deliver?.(delivery)
  }

  lost(...args: unknown[]): unknown {
    return this.#sink.lost?.(...args)
  }

  assigned(offsets: unknown): unknown {
    return this.#sink.assigned?.(offsets)
  }

  dropped(messages: unknown): unknown {
    return this.#sink.dropped?.(messages)
  }
}

export const sessionClosedError = (): RatatoskrError =>
  new RatatoskrError('RTK_CLOSED', 'the session is closed; connect again')

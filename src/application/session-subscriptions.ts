/** The subscriptions of one session: counted, bounded, and ended with it. */
import { RatatoskrError } from '../domain/errors.ts'
import type { SinkEvents, Subscription } from '../ports/index.ts'

export class SessionSubscriptions {
  readonly #max: number
  readonly #open = new Set<Subscription>()
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
  async add<Sink extends SinkEvents & { deliver: unknown }>(
    sink: Sink,
    open: (sink: Sink) => Promise<Subscription>,
  ): Promise<Subscription> {
    if (this.#open.size + this.#opening >= this.#max) {
      throw new RatatoskrError(
        'RTK_LIMIT_EXCEEDED',
        `the session has ${this.#max} subscriptions already (subscriptionsPerSessionMax); close some or raise the limit`,
      )
    }
    let ended = false
    let subscription: Subscription | undefined
    const watched = watchEnd(sink, () => {
      ended = true
      if (subscription !== undefined) this.#open.delete(subscription)
    })
    this.#opening++
    try {
      subscription = await open(watched)
    } finally {
      this.#opening--
    }
    if (this.#closed) {
      await subscription.close()
      throw sessionClosedError()
    }
    if (!ended) this.#open.add(subscription)
    return subscription
  }

  /** Ends them all. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(Array.from(this.#open, (subscription) => subscription.close()))
    this.#open.clear()
  }
}

/** The same sink, whose end is noticed. Its own methods are called on itself, so that class instances work. */
function watchEnd<Sink extends SinkEvents & { deliver: unknown }>(sink: Sink, onEnd: () => void): Sink {
  const watched: SinkEvents & { deliver: unknown } = {
    deliver: (sink.deliver as (...args: unknown[]) => unknown).bind(sink),
    ended: (reason) => {
      onEnd()
      sink.ended(reason)
    },
  }
  if (sink.assigned !== undefined) watched.assigned = (partitions) => sink.assigned?.(partitions)
  return watched as Sink
}

export const sessionClosedError = (): RatatoskrError =>
  new RatatoskrError('RTK_CLOSED', 'the session is closed; connect again')

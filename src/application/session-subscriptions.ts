/** The subscriptions of one session, of either kind: counted, bounded, and ended with it. */
import { RatatoskrError } from '../domain/errors.ts'

/** What all kinds of sink have in common. */
interface Endable {
  ended(reason: RatatoskrError | undefined): void
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
    let ended = false
    let subscription: Opened | undefined
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

/** What sinks may be called with. */
const sinkMethods = ['deliver', 'lost', 'assigned', 'dropped'] as const

/** The same sink, whose end is noticed. Its own methods are called on itself, so that class instances work. */
function watchEnd<Sink extends Endable>(sink: Sink, onEnd: () => void): Sink {
  const methods = sink as Sink &
    Partial<Record<(typeof sinkMethods)[number], (...args: unknown[]) => unknown>>
  const watched: Record<string, unknown> = {
    ended: (reason: RatatoskrError | undefined) => {
      onEnd()
      return sink.ended(reason)
    },
  }
  for (const name of sinkMethods) {
    watched[name] = methods[name]?.bind(sink)
  }
  return watched as unknown as Sink
}

export const sessionClosedError = (): RatatoskrError =>
  new RatatoskrError('RTK_CLOSED', 'the session is closed; connect again')

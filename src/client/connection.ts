/**
 * A link that comes back: opens a link, and another when it is lost, with backoff, until it is closed or gives up.
 *
 * Calls made while there is no link wait for the next, as long as their signal lets them. Calls that were under way when
 * the link was lost reject with RTK_DISCONNECTED, since nobody knows what became of them; those that only read may ask
 * to be repeated.
 */
import {
  type BackoffOptions,
  type Clock,
  isRatatoskrError,
  type Logger,
  type MaybePromise,
  type Random,
  RatatoskrError,
  toRatatoskrError,
} from '../ports/index.ts'
import { Backoff } from './backoff.ts'
import { delay, unlessAborted } from './call.ts'
import { DirectLinks } from './direct-links.ts'
import type { Link } from './link.ts'

/** How a lost link is replaced. */
export interface ReconnectOptions extends Partial<BackoffOptions> {
  /** Attempts in a row before the client gives up and closes; endless by default. */
  readonly attemptsMax?: number | undefined
}

export interface ConnectionOptions {
  /** Opens a link; `attempt` counts up from 0 for callers with several addresses. */
  readonly open: (signal: AbortSignal, attempt: number) => Promise<Link>
  /** Attempts of the first connecting: one for each address. */
  readonly firstAttempts: number
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** False: the first loss is the end. */
  readonly reconnect: ReconnectOptions | false
  /** How long one attempt to open a link may take. */
  readonly connectTimeoutMs: number
  /** Calls that may wait for a link. */
  readonly waitingMax: number
}

/** What gives up a call: a signal, or who makes one when he is asked. A call that need not wait never asks: making one costs more. */
export type CallSignal = AbortSignal | { readonly signal: AbortSignal }

const signalOf = (given: CallSignal | undefined): AbortSignal | undefined =>
  given === undefined || given instanceof AbortSignal ? given : given.signal

// A link that lived this long was a good one: the next loss begins with the shortest pauses again.
const stableAfterMs = 1_000
const fatalKinds = new Set(['unauthenticated', 'denied', 'invalid', 'unsupported', 'config'])

export class Connection {
  readonly #options: ConnectionOptions
  readonly #backoff: Backoff
  readonly #closing = new AbortController()
  /** Links to other workers of the same broker, for what is much. */
  readonly direct: DirectLinks
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  #attempt = 0
  #link: Link | undefined
  /** The attempt that opened the link: further ones to the same address are of that number too. */
  #linkAttempt = 0
  #linkSinceMs = 0
  #brokerNow: () => number
  #next: PromiseWithResolvers<Link> | undefined
  #waiting = 0
  #end: RatatoskrError | undefined
  /** True when it was closed, and not lost. */
  #isClosed = false

  private constructor(options: ConnectionOptions) {
    this.#options = options
    this.#brokerNow = () => options.clock.now() // until there is a link
    const pauses = options.reconnect === false ? {} : options.reconnect
    this.#backoff = new Backoff(
      { baseMs: pauses.baseMs ?? 100, maxMs: pauses.maxMs ?? 2_000 },
      options.random,
    )
    this.direct = new DirectLinks({
      clock: options.clock,
      random: options.random,
      logger: options.logger,
      open: (signal) => this.#openLink(signal, this.#linkAttempt),
      signal: this.#closing.signal,
    })
  }

  /**
   * Opens the first link.
   * @throws what the last attempt threw; RTK_CANCELLED or RTK_TIMEOUT when `signal` fires
   */
  static async open(options: ConnectionOptions, signal: AbortSignal): Promise<Connection> {
    const connection = new Connection(options)
    for (let left = options.firstAttempts; ; left--) {
      try {
        await connection.#openNext(signal)
        return connection
      } catch (error) {
        if (left <= 1 || signal.aborted) throw toRatatoskrError(error)
      }
    }
  }

  /** Settles when the connection is over: with the reason when it gave up, with undefined when it was closed. */
  get closed(): Promise<RatatoskrError | undefined> {
    return this.#ended.promise
  }

  /** Aborts when the connection is over. */
  get signal(): AbortSignal {
    return this.#closing.signal
  }

  /** The broker's clock, in Unix milliseconds; while there is no link, as the last one knew it. */
  brokerNow(): number {
    return this.#brokerNow()
  }

  /**
   * Runs a call on the link, at once when there is one. A link that turns out to have been closed before the call did
   * nothing, so the call goes to the next one.
   * @param repeat true for calls that may safely be made again when their answer was lost
   * @throws RTK_CLOSED after the end, RTK_DISCONNECTED when the link is lost meanwhile, RTK_OVERLOADED when too many wait
   */
  use<T>(run: (link: Link) => MaybePromise<T>, signal?: CallSignal, repeat = false): MaybePromise<T> {
    const link = this.#link
    if (link === undefined) return this.#useNext(run, signalOf(signal), repeat)
    try {
      const result = run(link)
      if (!(result instanceof Promise)) return result
      return result.catch((error: unknown) => this.#failed(error, link, run, signal, repeat))
    } catch (error) {
      return this.#failed(error, link, run, signal, repeat)
    }
  }

  /** Tells that a link is lost, for those who notice before its `closed` settles. */
  lost(link: Link, reason: RatatoskrError): void {
    if (this.#link !== link) return
    this.#link = undefined
    void link.close().catch(() => {})
    const { clock, logger, reconnect } = this.#options
    if (reconnect === false) {
      this.#finish(reason)
      return
    }
    if (clock.monotonic() - this.#linkSinceMs >= stableAfterMs) this.#backoff.reset()
    logger.warn('connection lost; reconnecting', { code: reason.code })
    void this.#reconnect(reason, reconnect.attemptsMax ?? Number.POSITIVE_INFINITY)
  }

  /** Ends everything that waits and closes the link. Idempotent. */
  async close(): Promise<void> {
    const link = this.#link
    this.#link = undefined
    this.#isClosed = true
    this.#finish(undefined)
    await link?.close().catch(() => {})
  }

  #failed<T>(
    error: unknown,
    link: Link,
    run: (link: Link) => MaybePromise<T>,
    given: CallSignal | undefined,
    repeat: boolean,
  ): MaybePromise<T> {
    const closed = isRatatoskrError(error, 'RTK_CLOSED')
    if (!closed && !isRatatoskrError(error, 'RTK_DISCONNECTED')) throw toRatatoskrError(error)
    // A link that we thought alive and that refuses the call did nothing with it. One that was given up meanwhile, because
    // another call noticed the loss first, was cut with this call under way: nobody knows what became of it.
    const untouched = closed && this.#link === link
    const reason = closed ? lostError(untouched, error) : error
    this.lost(link, reason)
    const signal = signalOf(given)
    const again = this.#end === undefined && (repeat || untouched) && signal?.aborted !== true
    if (again) return this.#useNext(run, signal, repeat)
    // Only who has closed the client himself is told that it is closed.
    throw this.#isClosed ? error : reason
  }

  async #useNext<T>(
    run: (link: Link) => MaybePromise<T>,
    signal: AbortSignal | undefined,
    repeat: boolean,
  ): Promise<T> {
    if (this.#end !== undefined) throw this.#end
    if (this.#waiting >= this.#options.waitingMax) {
      throw new RatatoskrError(
        'RTK_OVERLOADED',
        `at most ${this.#options.waitingMax} calls wait for a connection (requestsInFlightMax)`,
      )
    }
    this.#next ??= handled(Promise.withResolvers<Link>())
    this.#waiting++
    try {
      await unlessAborted(this.#next.promise, signal, 'a call that waited for the connection')
    } finally {
      this.#waiting--
    }
    return this.use(run, signal, repeat)
  }

  async #reconnect(reason: RatatoskrError, attemptsMax: number): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#closing
    let last = reason
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      try {
        await delay(clock, this.#backoff.next(last), signal, 'reconnecting')
        await this.#openNext(signal)
        return
      } catch (error) {
        if (signal.aborted) return
        last = toRatatoskrError(error)
        if (fatalKinds.has(last.kind)) break
      }
    }
    this.#finish(last)
  }

  async #openNext(signal: AbortSignal): Promise<void> {
    const attempt = this.#attempt++
    this.#adopt(await this.#openLink(signal, attempt), attempt)
  }

  /** One attempt, with its own deadline. A link that opens after nobody waits for it any more is closed again. */
  async #openLink(outer: AbortSignal, number: number): Promise<Link> {
    const { clock, open, connectTimeoutMs } = this.#options
    const attempt = new AbortController()
    const cancel = (): void => attempt.abort(outer.reason)
    if (outer.aborted) cancel()
    outer.addEventListener('abort', cancel, { once: true })
    const timer = clock.after(connectTimeoutMs, () =>
      attempt.abort(
        new DOMException(
          `the broker did not answer within ${connectTimeoutMs} ms (connectTimeoutMs)`,
          'TimeoutError',
        ),
      ),
    )
    const opening = open(attempt.signal, number)
    try {
      return await unlessAborted(opening, attempt.signal, 'connecting')
    } catch (error) {
      opening.then(
        (late) => late.close().catch(() => {}),
        () => {},
      )
      throw error
    } finally {
      timer[Symbol.dispose]()
      outer.removeEventListener('abort', cancel)
    }
  }

  #adopt(link: Link, attempt: number): void {
    if (this.#end !== undefined) {
      void link.close().catch(() => {})
      return
    }
    this.#link = link
    this.#linkAttempt = attempt
    this.direct.entered(link.place)
    this.#linkSinceMs = this.#options.clock.monotonic()
    this.#brokerNow = () => link.brokerNow()
    void link.closed.then((reason) =>
      this.lost(link, reason ?? new RatatoskrError('RTK_DISCONNECTED', 'the broker closed the connection')),
    )
    this.#next?.resolve(link)
    this.#next = undefined
  }

  #finish(reason: RatatoskrError | undefined): void {
    if (this.#end !== undefined) return
    this.#end = new RatatoskrError(
      'RTK_CLOSED',
      reason === undefined ? 'the client is closed' : `the client is closed: ${reason.message}`,
      reason === undefined ? {} : { cause: reason },
    )
    this.#closing.abort(this.#end)
    this.#next?.reject(this.#end)
    this.#next = undefined
    this.#ended.resolve(reason)
  }
}

function lostError(untouched: boolean, cause: RatatoskrError): RatatoskrError {
  const when = untouched ? 'before the call' : 'while the call was under way'
  return new RatatoskrError('RTK_DISCONNECTED', `the connection was lost ${when}`, { cause })
}

/** A rejection that nobody waits for is no crash of the process. */
function handled<T>(resolvers: PromiseWithResolvers<T>): PromiseWithResolvers<T> {
  resolvers.promise.catch(() => {})
  return resolvers
}

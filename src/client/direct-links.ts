/**
 * Links to other workers of the broker than the one that the connection has reached. Any worker serves any partition, but what
 * belongs to another is handed over inside, which costs more than the work itself: a client with much to send to a partition, or
 * to read from it, turns to the partition's owner.
 *
 * All workers listen at one address and the system spreads connections over them: links are opened until one has reached the
 * worker that was wanted, a bounded number of times, and the others are closed again. Meanwhile, and when it fails,
 * everything goes on over the connection. Links that are of no use any more are closed.
 */
import {
  type BrokerPlace,
  type Clock,
  isRatatoskrError,
  type Logger,
  type MaybePromise,
  type Random,
  RatatoskrError,
  toRatatoskrError,
} from '../ports/index.ts'
import { Backoff } from './backoff.ts'
import { delay } from './call.ts'
import type { Link } from './link.ts'

export interface DirectLinksOptions {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Opens one more link to where the connection is. */
  readonly open: (signal: AbortSignal) => Promise<Link>
  /** Aborts when the connection is over. */
  readonly signal: AbortSignal
}

/** Calls, or bytes, for another worker within so many milliseconds are worth a link. */
const [worthCalls, worthBytes, worthWithinMs] = [50, 1024 * 1024, 1_000]
/** Of N workers the one that is wanted is missed so often by one client in 3,000. No broker has clients try for ever. */
const [attemptsPerWorker, attemptsMax] = [8, 256]
/** Between two attempts, at most: those who start together shall not knock together. */
const pauseMsMax = 20
/** A link that is not used for so long is closed. */
const idleMs = 30_000

/** A link to a worker, and who uses it. */
export class DirectLink {
  readonly #link: Link
  readonly #lost: () => void
  isOpen = true
  #holders = 0
  #used = true

  /** @param lost called when the link turns out to be lost */
  constructor(link: Link, lost: () => void) {
    this.#link = link
    this.#lost = lost
  }

  /** Runs a call. @throws what it throws; RTK_DISCONNECTED when the link is lost meanwhile */
  use<T>(run: (link: Link) => MaybePromise<T>): MaybePromise<T> {
    const release = this.hold()
    try {
      const result = run(this.#link)
      if (result instanceof Promise) {
        return result.then(
          (value) => {
            release()
            return value
          },
          (error) => {
            release()
            throw this.#failed(error)
          },
        )
      }
      release()
      return result
    } catch (error) {
      release()
      throw this.#failed(error)
    }
  }

  /** Keeps the link from being closed for want of use. @returns what lets go of it again, once */
  hold(): () => void {
    this.#holders++
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#holders--
      this.#used = true
    }
  }

  /** True when nobody has used it since this was last asked. */
  unused(): boolean {
    const unused = this.#holders === 0 && !this.#used
    this.#used = false
    return unused
  }

  close(): void {
    this.isOpen = false
    this.#link.close().catch(() => {})
  }

  #failed(error: unknown): RatatoskrError {
    if (isRatatoskrError(error, 'RTK_DISCONNECTED')) this.#lost()
    return toRatatoskrError(error)
  }
}

interface Traffic {
  sinceMs: number
  calls: number
  bytes: number
}

export class DirectLinks {
  readonly #options: DirectLinksOptions
  readonly #backoff: Backoff
  /** The worker that the connection has reached; undefined where there is one only. */
  #entry: BrokerPlace | undefined
  readonly #links = new Map<number, DirectLink>()
  /** All that are open, those that are turned to no more as well. */
  readonly #open = new Set<DirectLink>()
  readonly #traffic = new Map<number, Traffic>()
  readonly #wanted = new Set<number>()
  #reaching = false
  #restUntilMs = 0
  #sweeping: Disposable | undefined

  constructor(options: DirectLinksOptions) {
    this.#options = options
    this.#backoff = new Backoff({ baseMs: 1_000, maxMs: 60_000 }, options.random)
    options.signal.addEventListener('abort', () => this.#close(), { once: true })
  }

  /** The connection has reached this worker; undefined for a broker that says nothing of workers. */
  entered(place: BrokerPlace | undefined): void {
    const before = this.#entry
    this.#entry = place
    if (place?.broker === before?.broker) return
    // Another broker, or another run of it: numbers of workers mean nothing there.
    this.#links.clear()
    this.#traffic.clear()
    this.#wanted.clear()
    this.#restUntilMs = 0
    this.#backoff.reset()
  }

  /** The link to a worker; undefined when the connection itself is the way there. */
  to(worker: number | undefined): DirectLink | undefined {
    return this.#isElsewhere(worker) ? this.#links.get(worker) : undefined
  }

  /** Tells that something for this worker went over the connection. Much of it is worth a link. */
  passed(worker: number | undefined, bytes: number): void {
    if (!this.#isElsewhere(worker) || this.#wanted.has(worker)) return
    const nowMs = this.#options.clock.monotonic()
    let traffic = this.#traffic.get(worker)
    if (traffic === undefined || nowMs - traffic.sinceMs > worthWithinMs) {
      traffic = { sinceMs: nowMs, calls: 0, bytes: 0 }
      this.#traffic.set(worker, traffic)
    }
    traffic.calls++
    traffic.bytes += bytes
    if (traffic.calls < worthCalls && traffic.bytes < worthBytes) return
    if (nowMs < this.#restUntilMs) return
    this.#traffic.delete(worker)
    this.#wanted.add(worker)
    if (!this.#reaching) void this.#reach()
  }

  #isElsewhere(worker: number | undefined): worker is number {
    const entry = this.#entry
    return entry !== undefined && worker !== undefined && worker !== entry.worker && worker < entry.workers
  }

  /** Opens links until all workers that are wanted are reached, or it was tried often enough. */
  async #reach(): Promise<void> {
    const { clock, random, logger, open, signal } = this.#options
    this.#reaching = true
    let missing: unknown
    try {
      for (let tries = 0; this.#wanted.size > 0; tries++) {
        const triesMax = Math.min(attemptsPerWorker * (this.#entry?.workers ?? 0), attemptsMax)
        if (tries >= triesMax) throw notReached([...this.#wanted])
        await delay(clock, random.next() * pauseMsMax, signal, 'connecting to a worker')
        const link = await open(signal)
        if (!this.#take(link)) link.close().catch(() => {})
      }
      this.#backoff.reset()
    } catch (error) {
      missing = error
    }
    this.#reaching = false
    if (missing === undefined || signal.aborted) return
    this.#wanted.clear()
    this.#restUntilMs = clock.monotonic() + this.#backoff.next()
    logger.debug('workers are not reached directly; what is for them goes on over the connection', {
      error: missing,
    })
  }

  /** @returns false when the link has not reached a worker that is wanted @throws when it has reached somebody else's */
  #take(link: Link): boolean {
    const { place } = link
    if (place === undefined || place.broker !== this.#entry?.broker) {
      link.close().catch(() => {})
      throw notReached([...this.#wanted])
    }
    const { worker } = place
    if (!this.#isElsewhere(worker)) this.#wanted.delete(worker)
    if (!this.#wanted.delete(worker)) return false
    const direct = new DirectLink(link, () => this.#lost(worker, direct))
    this.#links.set(worker, direct)
    this.#open.add(direct)
    this.#sweeping ??= this.#options.clock.after(idleMs, this.#sweep)
    void link.closed.then(() => this.#lost(worker, direct))
    return true
  }

  #lost(worker: number, direct: DirectLink): void {
    if (this.#links.get(worker) === direct) this.#links.delete(worker)
    if (this.#open.delete(direct)) direct.close()
  }

  readonly #sweep = (): void => {
    this.#sweeping = undefined
    for (const direct of [...this.#open]) {
      if (!direct.unused()) continue
      for (const [worker, one] of this.#links) if (one === direct) this.#links.delete(worker)
      this.#open.delete(direct)
      direct.close()
    }
    if (this.#open.size > 0) this.#sweeping = this.#options.clock.after(idleMs, this.#sweep)
  }

  #close(): void {
    this.#sweeping?.[Symbol.dispose]()
    this.#entry = undefined
    this.#links.clear()
    this.#wanted.clear()
    for (const direct of this.#open) direct.close()
    this.#open.clear()
  }
}

const notReached = (workers: readonly number[]): RatatoskrError =>
  new RatatoskrError('RTK_UNAVAILABLE', `no connection has reached worker ${workers.join(' or ')}`)

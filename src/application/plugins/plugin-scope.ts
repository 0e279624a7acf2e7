/**
 * Everything one plugin holds of the broker: its hooks, queues, timers and gauges. Closing the scope takes them all
 * back, so that a plugin which is unloaded, or whose `setup` failed half-way, leaves nothing behind.
 */
import {
  assertMetricSeries,
  type BackgroundQueue,
  type BackgroundQueueOptions,
  type BrokerStats,
  type Clock,
  type GuardEvents,
  type Health,
  type LogFields,
  type Logger,
  type Metrics,
  messagesOf,
  type ObserverEvents,
  type ObserverOptions,
  type Platform,
  type PluginContext,
  RatatoskrError,
} from '../../ports/index.ts'
import { BoundedQueue } from './background-queue.ts'
import type { HookOwner, HookTable } from './hook-table.ts'

/** At most one line a plugin is logged in this time for what may happen at the rate of messages. */
const logIntervalMs = 1_000

export interface ScopeOptions {
  readonly plugin: string
  /** Place in the list of plugins. */
  readonly order: number
  readonly hooks: HookTable
  readonly platform: Platform
  readonly metrics: Metrics
  readonly expandedBatchBytesMax: number
  readonly stats: () => BrokerStats
  readonly health: () => Health
}

export class PluginScope implements HookOwner {
  readonly plugin: string
  readonly order: number
  readonly context: PluginContext
  readonly logger: Logger
  readonly #options: ScopeOptions
  readonly #held = new Set<Disposable>()
  readonly #queues = new Map<string, Pick<BoundedQueue<unknown>, 'close'>>()
  #closed = false
  #loggedMs = Number.NEGATIVE_INFINITY
  #unlogged = 0

  constructor(options: ScopeOptions) {
    this.#options = options
    this.plugin = options.plugin
    this.order = options.order
    this.logger = options.platform.logger.child({ plugin: options.plugin })
    this.context = this.#makeContext()
  }

  /** Takes back hooks, timers and gauges at once, and lets nothing new be made. Queues go on until `closeQueues`. */
  release(): void {
    this.#closed = true
    for (const held of this.#held) held[Symbol.dispose]()
    this.#held.clear()
  }

  /** Lets the queues drain, all together, and closes them at the deadline. @returns items that were cut */
  async closeQueues(deadlineMs: number): Promise<number> {
    const cut = await Promise.all([...this.#queues.values()].map((queue) => queue.close(deadlineMs)))
    this.#queues.clear()
    return cut.reduce((sum, items) => sum + items, 0)
  }

  /** A warning that may come at the rate of messages: the rest within an interval is only counted. */
  warnOften(message: string, fields: LogFields): void {
    const nowMs = this.#options.platform.clock.monotonic()
    if (nowMs - this.#loggedMs < logIntervalMs) {
      this.#unlogged++
      return
    }
    this.logger.warn(message, { ...fields, unlogged: this.#unlogged })
    this.#loggedMs = nowMs
    this.#unlogged = 0
  }

  #makeContext(): PluginContext {
    const { platform, stats, health, expandedBatchBytesMax } = this.#options
    const expansion = { codecs: platform.compression, bytesMax: expandedBatchBytesMax }
    return {
      logger: this.logger,
      clock: this.#clock(),
      random: platform.random,
      metrics: this.#metrics(),
      on: (name, observer, options) => this.#on(name, observer, options),
      before: (name, guard) => this.#before(name, guard),
      backgroundQueue: (options) => this.#queue(options),
      messages: ({ batch, ...source }) => messagesOf(batch, { ...source, expansion }),
      stats,
      health,
    }
  }

  #on<Name extends keyof ObserverEvents>(
    name: Name,
    run: (event: ObserverEvents[Name]) => undefined,
    options: ObserverOptions | undefined,
  ): Disposable {
    this.#assertOpen()
    return this.#hold(this.#options.hooks.addObserver(name, this, run, options))
  }

  #before<Name extends keyof GuardEvents>(
    name: Name,
    run: (event: GuardEvents[Name]) => undefined,
  ): Disposable {
    this.#assertOpen()
    return this.#hold(this.#options.hooks.addGuard(name, this, run))
  }

  /** A plugin's timers end with it, and what they throw stays here: uncaught, it would end the process. */
  #clock(): Clock {
    const clock = this.#options.platform.clock
    return {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      after: (delayMs, run) => {
        this.#assertOpen()
        const timer = this.#hold(
          clock.after(delayMs, () => {
            timer[Symbol.dispose]()
            try {
              run()
            } catch (error) {
              this.warnOften('plugin timer failed', { error })
            }
          }),
        )
        return timer
      },
    }
  }

  /** Names are checked here, so that adapters need not; gauges end with the plugin. */
  #metrics(): Metrics {
    const metrics = this.#options.metrics
    return {
      counter: (name, labels) => {
        assertMetricSeries(name, labels)
        return metrics.counter(name, labels)
      },
      histogram: (name, labels) => {
        assertMetricSeries(name, labels)
        return metrics.histogram(name, labels)
      },
      gauge: (name, read, labels) => {
        this.#assertOpen()
        assertMetricSeries(name, labels)
        return this.#hold(metrics.gauge(name, read, labels))
      },
    }
  }

  #queue<Item>(options: BackgroundQueueOptions<Item>): BackgroundQueue<Item> {
    this.#assertOpen()
    const { plugin } = this
    const { metrics, platform } = this.#options
    const { name } = options
    if (typeof name !== 'string' || name === '') throw new TypeError('a background queue needs a name')
    if (this.#queues.has(name))
      throw new TypeError(`plugin "${plugin}" has a background queue "${name}" already`)
    const labels = { plugin, queue: name }
    const dropped = metrics.counter('ratatoskr.plugin.queue.dropped.items', labels)
    const failures = metrics.counter('ratatoskr.plugin.queue.failures', labels)
    const queue = new BoundedQueue(options, platform.clock, {
      dropped: (items) => {
        dropped.add(items)
        this.warnOften('plugin queue is full: items were dropped', { queue: name, dropped: queue.dropped })
      },
      failed: (error, items) => {
        failures.add(1)
        this.warnOften('plugin queue handler failed', { queue: name, items, error })
      },
    })
    this.#queues.set(name, queue)
    this.#hold(metrics.gauge('ratatoskr.plugin.queue.items', () => queue.size, labels))
    return queue
  }

  /** Ties something to this plugin's life; disposing of it early lets it go. */
  #hold(held: Disposable): Disposable {
    const holder: Disposable = {
      [Symbol.dispose]: () => {
        this.#held.delete(holder)
        held[Symbol.dispose]()
      },
    }
    this.#held.add(holder)
    return holder
  }

  #assertOpen(): void {
    if (!this.#closed) return
    throw new RatatoskrError('RTK_CLOSED', `plugin "${this.plugin}" was closed; it can register nothing more`)
  }
}

/**
 * Runs plugins beside the broker: sets them up in list order, calls their hooks, and keeps what they do wrong to
 * themselves. Observers cannot fail what happened already; guards fail closed; both are called synchronously.
 */
import {
  type BrokerStats,
  defaultLimits,
  type GuardEvents,
  type Health,
  isRatatoskrError,
  type Limits,
  type Metrics,
  type ObserverEvents,
  type Platform,
  type Plugin,
  quoteForMessage,
  RatatoskrError,
} from '../../ports/index.ts'
import { within } from '../deadline.ts'
import type { Hooks } from '../seams.ts'
import { type Hooked, HookTable } from './hook-table.ts'
import { assertPlugins } from './plugin-list.ts'
import { PluginScope } from './plugin-scope.ts'

export interface PluginHostOptions {
  /** In the order in which they are set up and their hooks run. */
  readonly plugins: readonly Plugin[]
  readonly platform: Platform
  readonly metrics: Metrics
  /** What plugins see as `context.stats()`. */
  readonly stats: () => BrokerStats
  /** What plugins see as `context.health()`. */
  readonly health: () => Health
  readonly limits?:
    | Pick<Limits, 'observerFailuresMax' | 'pluginCloseTimeoutMs' | 'expandedBatchBytesMax'>
    | undefined
}

interface Running {
  readonly plugin: Plugin
  readonly scope: PluginScope
}

export class PluginHost implements Hooks {
  readonly #options: PluginHostOptions
  readonly #limits: Pick<Limits, 'observerFailuresMax' | 'pluginCloseTimeoutMs' | 'expandedBatchBytesMax'>
  readonly #table = new HookTable()
  /** In list order: what is set up now. */
  readonly #running = new Map<string, Running>()
  readonly #removed = new Set<string>()
  /** Starting, stopping and removing wait for one another. */
  #last: Promise<unknown> = Promise.resolve()
  #started = false

  /** @throws RTK_PLUGIN_INVALID when a name is wrong or taken, or a plugin stands before one that it requires */
  constructor(options: PluginHostOptions) {
    assertPlugins(options.plugins)
    this.#options = options
    this.#limits = options.limits ?? defaultLimits
  }

  /** Names of the plugins that are set up, in order. */
  get running(): readonly string[] {
    return [...this.#running.keys()]
  }

  observes(name: keyof ObserverEvents, batches = false): boolean {
    const observers = this.#table.observers[name]
    return batches ? observers.some((observer) => observer.batches) : observers.length !== 0
  }

  guards(name: keyof GuardEvents): boolean {
    return this.#table.guards[name].length !== 0
  }

  emit<Name extends keyof ObserverEvents>(name: Name, event: ObserverEvents[Name]): void {
    const observers: readonly Hooked<ObserverEvents[Name]>[] = this.#table.observers[name]
    for (let i = 0; i < observers.length; i++) {
      const observer = observers[i]
      if (!observer.active) continue
      try {
        const returned = observer.run(event)
        if (returned === undefined) observer.failuresInRow = 0
        else this.#observeReturned(name, observer, returned)
      } catch (error) {
        this.#observerFailed(name, observer, error)
      }
    }
  }

  check<Name extends keyof GuardEvents>(name: Name, event: GuardEvents[Name]): void {
    const guards: readonly Hooked<GuardEvents[Name]>[] = this.#table.guards[name]
    for (let i = 0; i < guards.length; i++) {
      const guard = guards[i]
      if (!guard.active) continue
      let returned: unknown
      try {
        returned = guard.run(event)
      } catch (error) {
        throw isRatatoskrError(error) ? error : this.#guardFailed(name, guard, error)
      }
      if (returned !== undefined) throw this.#guardReturned(name, guard, returned)
    }
  }

  /**
   * Sets the plugins up, one after the other. Idempotent; may be called again after `stop`.
   * @throws what a `setup` threw when it is a RatatoskrError, RTK_PLUGIN_INVALID with it as cause otherwise; then the
   *   plugins that were set up before are closed again, in reverse
   */
  start(): Promise<void> {
    return this.#inTurn(() => this.#start())
  }

  /**
   * Unhooks every plugin, lets their queues drain, then closes them in reverse. A plugin that hangs is given up at its
   * deadline, one that throws is logged. Idempotent; never rejects.
   */
  stop(): Promise<void> {
    return this.#inTurn(() => this.#stop())
  }

  /**
   * Unloads one plugin for good: its hooks are gone when this returns its promise, its queues drain, `close` is called.
   * @throws RTK_PLUGIN_INVALID when there is none of that name, or another one requires it
   */
  async remove(name: string): Promise<void> {
    const listed = this.#options.plugins.filter((plugin) => !this.#removed.has(plugin.name))
    if (!listed.some((plugin) => plugin.name === name)) {
      throw new RatatoskrError('RTK_PLUGIN_INVALID', `there is no plugin ${quoteForMessage(name)} to remove`)
    }
    const dependent = listed.find((plugin) => plugin.requires?.includes(name))
    if (dependent !== undefined) {
      throw new RatatoskrError(
        'RTK_PLUGIN_INVALID',
        `plugin "${name}" is required by "${dependent.name}"; remove that one first`,
      )
    }
    this.#removed.add(name)
    this.#running.get(name)?.scope.release()
    await this.#inTurn(async () => {
      const running = this.#running.get(name)
      if (running !== undefined) await this.#close(running, this.#limits.pluginCloseTimeoutMs)
    })
  }

  async #start(): Promise<void> {
    if (this.#started) return
    const { plugins, ...shared } = this.#options
    for (const [order, plugin] of plugins.entries()) {
      if (this.#removed.has(plugin.name)) continue
      const scope = new PluginScope({
        ...shared,
        expandedBatchBytesMax: this.#limits.expandedBatchBytesMax,
        plugin: plugin.name,
        order,
        hooks: this.#table,
      })
      try {
        await plugin.setup(scope.context)
      } catch (error) {
        scope.release()
        await scope.closeQueues(0)
        await this.#stop()
        throw setupError(plugin.name, error)
      }
      this.#running.set(plugin.name, { plugin, scope })
    }
    this.#started = true
  }

  async #stop(): Promise<void> {
    this.#started = false
    const { clock } = this.#options.platform
    const drainUntilMs = clock.monotonic() + this.#limits.pluginCloseTimeoutMs
    const running = [...this.#running.values()].reverse()
    for (const { scope } of running) scope.release()
    for (const one of running) await this.#close(one, Math.max(0, drainUntilMs - clock.monotonic()))
  }

  async #close({ plugin, scope }: Running, drainMs: number): Promise<void> {
    scope.release()
    const cut = await scope.closeQueues(drainMs)
    if (cut > 0) scope.logger.warn('plugin queues did not drain in time', { dropped: cut })
    this.#running.delete(plugin.name)
    if (plugin.close === undefined) return
    try {
      const closing = (async () => plugin.close?.())()
      await within(this.#options.platform.clock, this.#limits.pluginCloseTimeoutMs, closing)
    } catch (error) {
      scope.logger.error('plugin failed to close', { error })
    }
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(run)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  /** An observer written without types may return a promise: then its rejection is the observer's failure. */
  #observeReturned<Name extends keyof ObserverEvents>(
    name: Name,
    observer: Hooked<ObserverEvents[Name]>,
    returned: unknown,
  ): void {
    Promise.resolve(returned).then(
      () => {
        observer.failuresInRow = 0
      },
      (error: unknown) => this.#observerFailed(name, observer, error),
    )
  }

  #observerFailed(hook: keyof ObserverEvents, observer: Hooked<never>, error: unknown): void {
    const { owner } = observer
    this.#options.metrics.counter('ratatoskr.plugin.observer.failures', { plugin: owner.plugin, hook }).add(1)
    owner.warnOften('plugin observer failed', { hook, error })
    observer.failuresInRow++
    if (!observer.active || observer.failuresInRow < this.#limits.observerFailuresMax) return
    observer[Symbol.dispose]()
    const failures = observer.failuresInRow
    owner.logger.error('plugin observer was unhooked: it failed too often in a row', {
      hook,
      failures,
      error,
    })
  }

  #guardFailed(hook: keyof GuardEvents, { owner }: Hooked<never>, error: unknown): RatatoskrError {
    const { plugin } = owner
    this.#options.metrics.counter('ratatoskr.plugin.guard.failures', { plugin, hook }).add(1)
    owner.warnOften('plugin guard failed', { hook, error })
    return new RatatoskrError(
      'RTK_HOOK_ERROR',
      `plugin "${plugin}" failed in its ${hook} guard, so that this is refused`,
      { cause: error, details: { plugin, hook } },
    )
  }

  /** What a guard returns has no meaning; code that returns a promise or `false` meant to refuse, perhaps: so be it. */
  #guardReturned(hook: keyof GuardEvents, guard: Hooked<never>, returned: unknown): RatatoskrError {
    if (returned instanceof Promise) returned.catch(() => undefined)
    return this.#guardFailed(
      hook,
      guard,
      new TypeError(`a guard returns undefined or throws, got ${typeof returned}`),
    )
  }
}

function setupError(name: string, error: unknown): RatatoskrError {
  if (isRatatoskrError(error)) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new RatatoskrError('RTK_PLUGIN_INVALID', `plugin "${name}" could not be set up: ${reason}`, {
    cause: error,
  })
}

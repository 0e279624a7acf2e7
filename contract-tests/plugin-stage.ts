/**
 * A stage for one plugin: the `PluginContext` of a broker that does not exist, which shows what the plugin does to it.
 * Unlike a broker it forgives nothing: whatever the plugin throws or returns is written down.
 */
import type {
  BackgroundQueue,
  BackgroundQueueOptions,
  BrokerStats,
  GuardEvents,
  Health,
  ObserverEvents,
  Plugin,
  PluginContext,
} from 'ratatoskr/ports'
import { defaultLimits, messagesOf } from 'ratatoskr/ports'
import { type MemoryMetrics, memoryMetrics } from '../adapters/memory-metrics/index.ts'
import { within } from './suite.ts'
import { type TestPlatform, testPlatform } from './test-platform.ts'

const stats: BrokerStats = {
  topics: 3,
  partitions: 12,
  sessions: 2,
  subscriptions: 5,
  messagesPublished: 1_000,
  bytesPublished: 100_000,
  messagesDelivered: 2_000,
  bytesDelivered: 200_000,
  messagesSkipped: 7,
  messagesDropped: 8,
  uptimeMs: 60_000,
  storage: { appends: 10, appendedBytes: 100_000, syncs: 5, hotReads: 20, coldReads: 4, hotBytes: 60_000 },
}

const health: Health = { status: 'ok', ready: true, uptimeMs: 60_000, components: [] }

type HookTable = Map<string, Set<(event: never) => unknown>>

/** A stand-in for the broker, in front of one plugin: it sends events, and notes what the plugin does wrong. */
export class PluginStage {
  readonly plugin: Plugin
  readonly platform: TestPlatform = testPlatform()
  readonly metrics: MemoryMetrics = memoryMetrics()
  /** Queues hand nothing over while this is set: as if every handler hung. */
  stalled: boolean
  /** What hooks and handlers threw, rejected with or returned. */
  readonly faults: unknown[] = []
  readonly queues: StageQueue<never>[] = []
  readonly #observers: HookTable = new Map()
  readonly #guards: HookTable = new Map()

  constructor(plugin: Plugin, options: { readonly stalled?: boolean } = {}) {
    this.plugin = plugin
    this.stalled = options.stalled ?? false
  }

  async setup(): Promise<void> {
    await this.plugin.setup(this.#context())
  }

  /** Hooks that the plugin has registered. */
  get hooks(): readonly string[] {
    const names = (table: HookTable) => [...table].filter(([, set]) => set.size > 0).map(([name]) => name)
    return [...names(this.#observers), ...names(this.#guards)]
  }

  emit<Name extends keyof ObserverEvents>(name: Name, event: ObserverEvents[Name]): void {
    for (const observer of this.#observers.get(name) ?? []) this.#call(observer, event)
  }

  /** @returns what the guards threw */
  check<Name extends keyof GuardEvents>(name: Name, event: GuardEvents[Name]): readonly unknown[] {
    const refusals: unknown[] = []
    for (const guard of this.#guards.get(name) ?? []) {
      try {
        const returned = (guard as (event: unknown) => unknown)(event)
        if (returned !== undefined) this.faults.push(returned)
      } catch (error) {
        refusals.push(error)
      }
    }
    return refusals
  }

  /** Waits until every queue has handed over what it holds. */
  async drained(): Promise<void> {
    await Promise.all(this.queues.map((queue) => queue.drained()))
  }

  /** As a broker does: drains the queues unless they are stalled, then closes; what takes longer than 5 s is a fault. */
  async close(): Promise<void> {
    if (!this.stalled) await within(this.drained(), 5_000, `queues of ${this.plugin.name}`)
    for (const queue of this.queues) queue.closed = true
    await within((async () => this.plugin.close?.())(), 5_000, `close of ${this.plugin.name}`)
  }

  #call(observer: (event: never) => unknown, event: unknown): void {
    try {
      const returned = (observer as (event: unknown) => unknown)(event)
      if (returned === undefined) return
      this.faults.push(returned)
      if (returned instanceof Promise) returned.catch((error: unknown) => this.faults.push(error))
    } catch (error) {
      this.faults.push(error)
    }
  }

  #context(): PluginContext {
    const { clock, logger, random, compression } = this.platform
    const expansion = { codecs: compression, bytesMax: defaultLimits.expandedBatchBytesMax }
    return {
      clock,
      logger,
      random,
      metrics: this.metrics,
      on: (name, observer) => register(this.#observers, name, observer),
      before: (name, guard) => register(this.#guards, name, guard),
      backgroundQueue: (options) => {
        const queue = new StageQueue(this, options)
        this.queues.push(queue as StageQueue<never>)
        return queue
      },
      messages: ({ batch, ...source }) => messagesOf(batch, { ...source, expansion }),
      stats: () => stats,
      health: () => health,
    }
  }
}

function register(table: HookTable, name: string, run: (event: never) => unknown): Disposable {
  let set = table.get(name)
  if (set === undefined) table.set(name, (set = new Set()))
  set.add(run)
  return { [Symbol.dispose]: () => void set.delete(run) }
}

/** The plainest queue that keeps the port's promises. */
class StageQueue<Item> implements BackgroundQueue<Item> {
  readonly options: BackgroundQueueOptions<Item>
  dropped = 0
  closed = false
  readonly #stage: PluginStage
  readonly #items: Item[] = []
  #handling: Promise<void> | undefined

  constructor(stage: PluginStage, options: BackgroundQueueOptions<Item>) {
    this.#stage = stage
    this.options = options
  }

  get size(): number {
    return this.#items.length
  }

  offer(item: Item): boolean {
    if (this.closed || this.#items.length >= this.options.itemsMax) {
      this.dropped++
      return false
    }
    this.#items.push(item)
    if (!this.#stage.stalled) this.#handling ??= this.#handleAll()
    return true
  }

  async drained(): Promise<void> {
    while (this.#handling !== undefined) await this.#handling
  }

  async #handleAll(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    while (this.#items.length > 0) {
      try {
        await this.options.handle(this.#items.splice(0, this.options.batchMax ?? 256))
      } catch (error) {
        this.#stage.faults.push(error)
      }
    }
    this.#handling = undefined
  }
}

/**
 * A broker that is asked by its transports alone: its life, and where it listens. What it is assembled from is in container.ts.
 * It knows nothing of the client, so that a server starts without loading that.
 */
import type { Broker } from '../application/index.ts'
import type { PluginHost } from '../application/plugins/index.ts'
import type { BoundAddress, BrokerFacade, BrokerStats, Health, Platform, Transport } from '../ports/index.ts'

export interface BrokerParts {
  readonly broker: Broker
  readonly plugins: PluginHost
  readonly transports: readonly Transport[]
  readonly platform: Platform
}

/** A broker in this process. */
export class ServedBroker implements AsyncDisposable {
  readonly #parts: BrokerParts

  /** Made by `createServedBroker`. */
  constructor(parts: BrokerParts) {
    this.#parts = parts
  }

  /** Starts storage, plugins and transports; resolves when the broker is usable. Idempotent. */
  async start(): Promise<void> {
    await this.#parts.broker.start()
  }

  /** Makes readiness fail, and goes on serving until `stop`: for load balancers, which must look elsewhere first. */
  drain(): void {
    this.#parts.broker.drain()
  }

  /** Stops taking work, lets calls in flight finish, then stops everything; within `limits.stopTimeoutMs`. Idempotent. */
  async stop(): Promise<void> {
    await this.#parts.broker.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Where the transports listen, in their order. */
  get addresses(): readonly BoundAddress[] {
    return this.#parts.transports.flatMap(({ address }) => (address === undefined ? [] : [address]))
  }

  /** What transports and plugins get: for tests, and for transports that are not started by the broker. */
  get facade(): BrokerFacade {
    return this.#parts.broker.facade
  }

  get platform(): Platform {
    return this.#parts.platform
  }

  health(): Health {
    return this.#parts.broker.health()
  }

  stats(): BrokerStats {
    return this.#parts.broker.stats()
  }

  /** Unloads a plugin while the broker runs: its hooks vanish, its queues drain, it is closed. */
  removePlugin(name: string): Promise<void> {
    return this.#parts.plugins.remove(name)
  }
}

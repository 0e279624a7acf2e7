/** Keeps one transport running: what reports that it failed is stopped and started again, and the others do not notice. */
import type { Limits } from '../../domain/limits.ts'
import type { BrokerFacade, ComponentHealth, Platform, Transport } from '../../ports/index.ts'
import { within } from '../deadline.ts'
import type { Supervision, Supervisor } from './supervisor.ts'

export class TransportRunner {
  readonly #transport: Transport
  readonly #facade: BrokerFacade
  readonly #platform: Platform
  readonly #limits: Limits
  readonly #supervisor: Supervisor
  /** A new one each time it is bound: what an earlier binding reports late does not count. */
  #binding = 0

  constructor(
    transport: Transport,
    facade: BrokerFacade,
    platform: Platform,
    limits: Limits,
    supervision: Supervision,
  ) {
    this.#transport = transport
    this.#facade = facade
    this.#platform = platform
    this.#limits = limits
    this.#supervisor = supervision.supervise({
      name: `transport ${transport.name}`,
      restart: () => this.#restart(),
    })
  }

  get health(): ComponentHealth {
    return this.#supervisor.health
  }

  /** @throws what the transport throws: at the broker's start nothing is tried twice */
  async start(): Promise<void> {
    const binding = ++this.#binding
    await this.#transport.start(this.#facade, {
      failed: (error) => {
        if (binding === this.#binding) this.#supervisor.failed(error)
      },
    })
  }

  async stop(deadlineMs: number): Promise<void> {
    this.#binding++
    const { clock } = this.#platform
    const deadline = clock.monotonic() + deadlineMs
    try {
      await within(clock, deadlineMs / 2, this.#supervisor.stop())
    } catch (error) {
      // A restart that hangs must not keep the transport from being stopped.
      this.#platform.logger.warn('a restart did not end', { transport: this.#transport.name, error })
    }
    await this.#transport.stop(deadline - clock.monotonic())
  }

  async #restart(): Promise<void> {
    this.#binding++
    try {
      // Its connections are as good as lost: nothing is gained by waiting for them.
      await within(this.#platform.clock, this.#limits.stopTimeoutMs, this.#transport.stop(0))
    } catch (error) {
      this.#platform.logger.warn('a failed transport did not stop in order', {
        transport: this.#transport.name,
        error,
      })
    }
    await this.start()
  }
}

/** The connections of one transport: their bounds, the signs of life that they are asked for, and their end. */
import type { BrokerFacade } from 'ratatoskr/ports'
import type { FrameBounds, FrameConnection } from './connection.ts'

/** Bounds of each connection, as options of a transport. */
export interface FrameBoundsOptions {
  /** Requests of one connection that wait for their answers. Default: the broker's limit of that name. */
  readonly requestsInFlightMax?: number | undefined
  /** Fetches among them: their answers may be large. Default 64. */
  readonly fetchesInFlightMax?: number | undefined
  /** Bytes that a client has not taken above which nothing more is read from it. Default 16 MiB. */
  readonly outboundBytesMax?: number | undefined
  /** From a connection's first byte until its session stands. Default 10 s. */
  readonly handshakeTimeoutMs?: number | undefined
  /** Time between pings; who gives no sign of life for that long is cut. Default 20 s. */
  readonly pingIntervalMs?: number | undefined
}

/** Begins to ask for signs of life when it is made, and goes on until `stop`. */
export class FrameConnections {
  /** The bounds of each connection, complete. */
  readonly bounds: FrameBounds
  readonly #broker: BrokerFacade
  readonly #open = new Set<FrameConnection>()
  #timer: Disposable

  constructor(broker: BrokerFacade, options: FrameBoundsOptions) {
    const { clock } = broker.platform
    const { pingIntervalMs = 20_000 } = options
    this.#broker = broker
    this.bounds = {
      requestsInFlightMax: options.requestsInFlightMax ?? broker.limits.requestsInFlightMax,
      fetchesInFlightMax: options.fetchesInFlightMax ?? 64,
      outboundBytesMax: options.outboundBytesMax ?? 16 * 1024 * 1024,
      handshakeTimeoutMs: options.handshakeTimeoutMs ?? 10_000,
    }
    const pingAll = (): void => {
      this.#timer = clock.after(pingIntervalMs, pingAll)
      for (const connection of this.#open) connection.ping()
    }
    this.#timer = clock.after(pingIntervalMs, pingAll)
  }

  /** True when there are as many as the broker has sessions. */
  get full(): boolean {
    return this.#open.size >= this.#broker.limits.sessionsMax
  }

  /** Keeps a connection until it is over. */
  add(connection: FrameConnection): void {
    this.#open.add(connection)
    connection.onClosed(this.#forget)
  }

  readonly #forget = (connection: FrameConnection): void => void this.#open.delete(connection)

  /** Drains all of them, and cuts what is left at the deadline. */
  async stop(deadlineMs: number): Promise<void> {
    this.#timer[Symbol.dispose]()
    const deadline = this.#broker.platform.clock.after(deadlineMs, () => {
      for (const connection of this.#open) connection.terminate()
    })
    await Promise.all(Array.from(this.#open, (connection) => connection.drain()))
    deadline[Symbol.dispose]()
  }
}

/**
 * A way in: a thin adapter between one protocol and the broker's facade.
 * The specification of this port is `transportContract` in `ratatoskr/contract-tests`.
 */
import type { RatatoskrError } from '../domain/errors.ts'
import type { BrokerFacade } from './broker-facade.ts'

/** Where a transport listens, after binding. */
export interface BoundAddress {
  /** Of a Unix socket, its path. */
  readonly host: string
  /** 0 for a Unix socket. */
  readonly port: number
  /** What to give a client's `connect`, such as `ws://127.0.0.1:8081` or `unix:/run/ratatoskr.sock`. */
  readonly url: string
}

/** What a protocol can carry, frozen. A false flag means that the operation answers RTK_NOT_SUPPORTED. */
export interface TransportSupports {
  /** Record batches travel as they are. */
  readonly batches: boolean
  /** Messages are pushed to subscribers. */
  readonly push: boolean
  /** Subscribers say how much they take; without, the connection's own flow control does. */
  readonly credit: boolean
  /** Consumer groups. */
  readonly groups: boolean
  /** Topics are created, altered and deleted. */
  readonly administration: boolean
  /** Keys, headers and payloads are any bytes. */
  readonly binary: boolean
}

/** How a transport tells its supervisor that it can no longer listen. It is then stopped and started again with backoff. */
export interface TransportSupervision {
  failed(error: RatatoskrError): void
}

/** One protocol on one address. */
export interface Transport {
  readonly name: string
  readonly supports: TransportSupports
  /** Where it listens; undefined unless started. */
  readonly address: BoundAddress | undefined
  /**
   * Binds and serves; resolves when connections are accepted. May be called again after `stop`.
   * @throws RTK_ADDRESS_IN_USE, RTK_INSECURE_BIND
   */
  start(broker: BrokerFacade, supervision: TransportSupervision): Promise<BoundAddress>
  /** Refuses new connections at once, lets calls in flight finish until the deadline, then cuts what is left. Idempotent. */
  stop(deadlineMs: number): Promise<void>
}

/** All that a transport or a plugin may ask of the broker itself; what it asks for one connection is in `session.ts`. */
import type { Limits } from '../domain/limits.ts'
import type { Health } from './health.ts'
import type { Platform } from './platform.ts'
import type { Authenticator, Credentials, Peer } from './security.ts'
import type { Session } from './session.ts'

/** Which event loop of which broker serves. Any of them serves every partition, its owner with the least work. */
export interface BrokerPlace {
  /** Random id of this run of the broker: numbers of workers mean something within it only. */
  readonly broker: string
  /** Number of this worker, as in `PartitionDescription.worker`. */
  readonly worker: number
  /** How many there are. */
  readonly workers: number
}

/** The broker, as transports and plugins see it. */
export interface BrokerFacade {
  readonly limits: Limits
  readonly platform: Platform
  /** What a transport must know before it binds: see `assertBindAllowed`. */
  readonly authenticator: Authenticator
  /** Undefined for a broker that is one event loop. Known when transports start. */
  readonly place?: BrokerPlace | undefined
  /**
   * Authenticates a peer and opens its session. Close it when the connection ends.
   * @throws RTK_UNAUTHENTICATED, RTK_LIMIT_EXCEEDED (sessionsMax), RTK_UNAVAILABLE when the broker is not running
   */
  connect(peer: Peer, credentials: Credentials): Promise<Session>
  /** For health endpoints that answer without a session. */
  health(): Health
}

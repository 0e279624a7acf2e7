/** All that a transport or a plugin may ask of the broker itself; what it asks for one connection is in `session.ts`. */
import type { Limits } from '../domain/limits.ts'
import type { Health } from './health.ts'
import type { Platform } from './platform.ts'
import type { Authenticator, Credentials, Peer } from './security.ts'
import type { Session } from './session.ts'

/** The broker, as transports and plugins see it. */
export interface BrokerFacade {
  readonly limits: Limits
  readonly platform: Platform
  /** What a transport must know before it binds: see `assertBindAllowed`. */
  readonly authenticator: Authenticator
  /**
   * Authenticates a peer and opens its session. Close it when the connection ends.
   * @throws RTK_UNAUTHENTICATED, RTK_LIMIT_EXCEEDED (sessionsMax), RTK_UNAVAILABLE when the broker is not running
   */
  connect(peer: Peer, credentials: Credentials): Promise<Session>
  /** For health endpoints that answer without a session. */
  health(): Health
}

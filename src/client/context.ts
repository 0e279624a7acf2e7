/** What the parts of one client share. */
import type { Limits, Platform } from '../ports/index.ts'
import type { Connection } from './connection.ts'

export interface ClientContext {
  readonly connection: Connection
  readonly platform: Platform
  /** Bounds that the client holds its own queues and messages to. */
  readonly limits: Limits
  /** Default deadline of a call. */
  readonly timeoutMs: number
}

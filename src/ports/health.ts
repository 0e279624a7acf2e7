/** How the broker is, and what it has done. */
import type { ProcessLoad } from './diagnostics.ts'
import type { LogStoreCounters } from './log-store.ts'

/** Counts of the broker; those of messages and bytes begin at its start. */
export interface BrokerStats {
  readonly topics: number
  readonly partitions: number
  readonly sessions: number
  readonly subscriptions: number
  readonly messagesPublished: number
  readonly bytesPublished: number
  readonly messagesDelivered: number
  readonly bytesDelivered: number
  /** Messages that subscribers were not given because they are lost to damage; each subscriber counts. */
  readonly messagesSkipped: number
  /** Messages that subscribers were not given because of their `overflow` policy; each subscriber counts. */
  readonly messagesDropped: number
  readonly uptimeMs: number
  /** What the log store did since it was started. */
  readonly storage: LogStoreCounters
  /** What the process uses: only in answers to `brokerStats`, of platforms that tell. */
  readonly process?: ProcessLoad | undefined
}

/**
 * `ok`: all is well. `degraded`: something is being restarted, was given up, lost records to damage, or has no room.
 * `stopping`: no new work is taken.
 */
export type HealthStatus = 'starting' | 'ok' | 'degraded' | 'stopping' | 'stopped'

/** How the broker and its parts are. */
export interface Health {
  readonly status: HealthStatus
  /** True when the broker takes work: what a load balancer asks. */
  readonly ready: boolean
  readonly uptimeMs: number
  readonly components: readonly ComponentHealth[]
}

/** How one part is, and how often it was restarted. */
export interface ComponentHealth {
  readonly name: string
  /** `degraded`: it serves, but has lost something for good. */
  readonly status: 'ok' | 'restarting' | 'failed' | 'degraded'
  /** Restarts since the broker started. */
  readonly restarts: number
  /** Code of the last failure. */
  readonly lastError?: string | undefined
}

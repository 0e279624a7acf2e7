/** What a broker is made of. Everything is given: see `src/composition` for how options become these parts. */
import type { Limits } from '../domain/limits.ts'
import type { TopicConfig } from '../domain/topic.ts'
import type {
  Authenticator,
  Authorizer,
  LogStore,
  Metrics,
  Platform,
  StateStore,
  Transport,
} from '../ports/index.ts'
import type { Delivery, Hooks } from './seams.ts'
import { defaultRestartPolicy, type RestartPolicy } from './supervision/supervisor.ts'
import type { WorkerThreads } from './workers/worker-threads.ts'

/** The plugins as the broker drives them. */
export interface PluginRunner extends Hooks {
  start(): Promise<void>
  stop(): Promise<void>
}

/** How a broker behaves, beside its limits. */
export interface BrokerSettings {
  /** Publishing or subscribing to a topic that does not exist creates it, for those who may create it. */
  readonly autoCreateTopics: boolean
  /** What a topic is when its creator says nothing; fields left out have the defaults of the README. */
  readonly topicDefaults: Partial<TopicConfig>
  /** Walk the records of each batch from outside, beside its header and CRC. */
  readonly verifyRecords: boolean
  /** Pause between two sweeps that delete what topics keep no longer. */
  readonly retentionIntervalMs: number
  /** When and how often a failed partition or transport is started again. */
  readonly restart: RestartPolicy
}

const defaultBrokerSettings: BrokerSettings = Object.freeze({
  autoCreateTopics: true,
  topicDefaults: Object.freeze({}),
  verifyRecords: true,
  retentionIntervalMs: 60_000,
  restart: defaultRestartPolicy,
})

/** Completes settings; what is given as undefined counts as not given. */
export const completeSettings = (given: Partial<BrokerSettings> = {}): BrokerSettings => ({
  ...defaultBrokerSettings,
  ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
})

export interface BrokerOptions {
  readonly storage: { readonly logs: LogStore; readonly state: StateStore }
  readonly transports: readonly Transport[]
  readonly plugins: PluginRunner
  readonly delivery: Delivery
  readonly platform: Platform
  readonly limits: Limits
  readonly metrics: Metrics
  readonly authenticator: Authenticator
  readonly authorizer: Authorizer
  readonly settings?: Partial<BrokerSettings> | undefined
  /** Runs the other workers; undefined for a broker that is one event loop. */
  readonly workers?: WorkerThreads | undefined
}

/** What a configuration may hold, with the defaults: the one place that knows every key. */
import type { RatatoskrConfig } from '../../composition/config.ts'
import { parseQueueSettings } from '../../domain/queue/queue-config-rules.ts'
import {
  compressions,
  defaultLimits,
  durabilityLevels,
  type Plugin,
  type QueueConfig,
  retentionPolicies,
  toRatatoskrError,
} from '../../ports/index.ts'
import { workersMax } from '../workers/worker-directories.ts'
import { defaulted, flag, list, Misfit, object, oneOf, optional, type Rule, text, whole } from './rules.ts'

const listen = (defaultPort: number) => ({
  enabled: defaulted(flag, true),
  host: defaulted(text(), '127.0.0.1'),
  port: defaulted(whole(0, 65_535), defaultPort),
  insecure: defaulted(flag, false),
})
const limit = optional(whole(1))
const limits = object(
  Object.fromEntries(Object.keys(defaultLimits).map((name) => [name, limit])) as Record<
    keyof typeof defaultLimits,
    typeof limit
  >,
)
/** The broker's own rules say what is wrong with a setting. */
const queueDefaults: Rule<Partial<QueueConfig>> = (value, path) => {
  try {
    return parseQueueSettings(value as Partial<QueueConfig>)
  } catch (error) {
    throw new Misfit(path, toRatatoskrError(error).message)
  }
}
const topicDefaults = object({
  partitions: limit,
  retentionMs: optional(whole(-1)),
  retentionBytes: optional(whole(-1)),
  retentionMessages: optional(whole(-1)),
  retention: optional(oneOf(retentionPolicies)),
  segmentBytes: limit,
  durability: optional(oneOf(durabilityLevels)),
  messageBytesMax: limit,
  dedupWindowMs: optional(whole(0, 604_800_000)),
  compression: optional(oneOf(compressions)),
  queue: optional(queueDefaults),
})
const token = object({
  name: text(),
  token: optional(text(16, 'a token is at least 16 characters')),
  tokenFile: optional(text()),
  namespace: optional(text()),
  allow: list(object({ actions: list(text(0), 1), topics: optional(text(0)) })),
})
const plugin: Rule<Plugin> = (value, path) => {
  if (typeof value === 'object' && value !== null && 'setup' in value && typeof value.setup === 'function')
    return value as Plugin
  throw new Misfit(
    path,
    'must be a plugin: an object with name and setup, in a configuration file that is code',
  )
}

const complete = object({
  storage: object({
    kind: defaulted(oneOf(['disk', 'memory']), 'disk'),
    directory: defaulted(text(), './data'),
    bytesMax: limit,
  }),
  grpc: object(listen(50_051)),
  http: object(listen(8_080)),
  websocket: object({ ...listen(8_081), allowedOrigins: defaulted(list(text(0)), []) }),
  tcp: object(listen(7_282)),
  unix: object({ path: optional(text()) }),
  topics: object({ autoCreate: defaulted(flag, true), defaults: topicDefaults }),
  limits,
  verifyRecords: defaulted(flag, true),
  auth: object({ tokens: defaulted(list(token), []) }),
  audit: object({
    enabled: defaulted(flag, false),
    file: defaulted(text(), './data/audit.jsonl'),
    publishes: defaulted(flag, false),
  }),
  metrics: object({ enabled: defaulted(flag, true) }),
  shutdown: object({ drainMs: defaulted(whole(0, 3_600_000), 500) }),
  log: object({ level: defaulted(oneOf(['debug', 'info', 'warn', 'error']), 'info') }),
  workers: defaulted(whole(1, workersMax), 1),
  plugins: defaulted(list(plugin), []),
} satisfies Record<keyof RatatoskrConfig, Rule<unknown>>) satisfies Rule<unknown>

/** A configuration with every default filled in. */
export type CompleteConfig = ReturnType<typeof complete>

/** Checks a configuration, and fills in the defaults. @throws Misfit */
export const completeConfig = (tree: unknown): CompleteConfig => complete(tree, [])

/** What a configuration may hold, with the defaults: the one place that knows every key. */
import { z } from 'zod'
import type { RatatoskrConfig } from '../../composition/config.ts'
import { parseQueueSettings } from '../../domain/queue/queue-config-rules.ts'
import {
  defaultLimits,
  durabilityLevels,
  type Plugin,
  type QueueConfig,
  retentionPolicies,
  toRatatoskrError,
} from '../../ports/index.ts'

const port = z.int().min(0).max(65_535)
const listen = (defaultPort: number) => ({
  enabled: z.boolean().default(true),
  host: z.string().min(1).default('127.0.0.1'),
  port: port.default(defaultPort),
  insecure: z.boolean().default(false),
})
const limit = z.int().min(1).optional()
const limits = z.strictObject(
  Object.fromEntries(Object.keys(defaultLimits).map((name) => [name, limit])) as Record<
    keyof typeof defaultLimits,
    typeof limit
  >,
)
/** The broker's own rules say what is wrong with a setting. */
const queueDefaults = z.custom<Partial<QueueConfig>>().transform((given, context) => {
  try {
    return parseQueueSettings(given)
  } catch (error) {
    context.addIssue({ code: 'custom', message: toRatatoskrError(error).message })
    return z.NEVER
  }
})
const topicDefaults = z.strictObject({
  partitions: limit,
  retentionMs: z.int().min(-1).optional(),
  retentionBytes: z.int().min(-1).optional(),
  retentionMessages: z.int().min(-1).optional(),
  retention: z.enum(retentionPolicies).optional(),
  segmentBytes: limit,
  durability: z.enum(durabilityLevels).optional(),
  messageBytesMax: limit,
  dedupWindowMs: z.int().min(0).max(604_800_000).optional(),
  queue: queueDefaults.optional(),
})
const token = z.strictObject({
  name: z.string().min(1),
  token: z.string().min(16, 'a token is at least 16 characters').optional(),
  tokenFile: z.string().min(1).optional(),
  namespace: z.string().min(1).optional(),
  allow: z.array(z.strictObject({ actions: z.array(z.string()).min(1), topics: z.string().optional() })),
})
const plugin = z.custom<Plugin>(
  (value) =>
    typeof value === 'object' && value !== null && 'setup' in value && typeof value.setup === 'function',
  'must be a plugin: an object with name and setup, in a configuration file that is code',
)

export const configSchema = z.strictObject({
  storage: z
    .strictObject({
      kind: z.enum(['disk', 'memory']).default('disk'),
      directory: z.string().min(1).default('./data'),
      bytesMax: limit,
    })
    .prefault({}),
  grpc: z.strictObject(listen(50_051)).prefault({}),
  http: z.strictObject(listen(8_080)).prefault({}),
  websocket: z
    .strictObject({ ...listen(8_081), allowedOrigins: z.array(z.string()).default([]) })
    .prefault({}),
  tcp: z.strictObject(listen(7_282)).prefault({}),
  unix: z.strictObject({ path: z.string().min(1).optional() }).prefault({}),
  topics: z
    .strictObject({ autoCreate: z.boolean().default(true), defaults: topicDefaults.prefault({}) })
    .prefault({}),
  limits: limits.prefault({}),
  verifyRecords: z.boolean().default(true),
  auth: z.strictObject({ tokens: z.array(token).default([]) }).prefault({}),
  audit: z
    .strictObject({
      enabled: z.boolean().default(false),
      file: z.string().min(1).default('./data/audit.jsonl'),
      publishes: z.boolean().default(false),
    })
    .prefault({}),
  metrics: z.strictObject({ enabled: z.boolean().default(true) }).prefault({}),
  shutdown: z.strictObject({ drainMs: z.int().min(0).max(3_600_000).default(500) }).prefault({}),
  log: z.strictObject({ level: z.enum(['debug', 'info', 'warn', 'error']).default('info') }).prefault({}),
  workers: z.int().min(1).max(64).default(1),
  plugins: z.array(plugin).default([]),
}) satisfies z.ZodType<unknown, RatatoskrConfig>

/** A configuration with every default filled in. */
export type CompleteConfig = z.infer<typeof configSchema>

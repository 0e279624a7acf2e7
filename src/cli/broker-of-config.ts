/** Assembles the broker that a configuration describes. Adapters are loaded only when they are asked for. */
import { readFile } from 'node:fs/promises'
import { createBroker, type EmbeddedBroker } from '../index.ts'
import { type Metrics, type Plugin, RatatoskrError, type Storage, type Transport } from '../ports/index.ts'
import type { CompleteConfig } from './config/schema.ts'
import { telemetryIsRegistered } from './telemetry.ts'

export async function brokerOfConfig(config: CompleteConfig): Promise<EmbeddedBroker> {
  const { nodePlatform, jsonLogger } = await import('ratatoskr/adapters/node')
  return createBroker({
    storage: await storageOf(config),
    transports: await transportsOf(config),
    plugins: [...(await pluginsOf(config)), ...config.plugins],
    security: await securityOf(config),
    metrics: await metricsOf(config),
    limits: definedOnly(config.limits),
    autoCreateTopics: config.topics.autoCreate,
    topicDefaults: definedOnly(config.topics.defaults),
    verifyRecords: config.verifyRecords,
    platform: nodePlatform({ logger: jsonLogger({ level: config.log.level }) }),
  })
}

async function storageOf({ storage }: CompleteConfig): Promise<Storage> {
  if (storage.kind === 'memory') {
    const { memoryStorage } = await import('ratatoskr/adapters/memory')
    return memoryStorage(definedOnly({ bytesMax: storage.bytesMax }))
  }
  const { diskStorage } = await import('ratatoskr/adapters/disk')
  return diskStorage({ directory: storage.directory })
}

async function transportsOf(config: CompleteConfig): Promise<Transport[]> {
  const transports: Transport[] = []
  if (config.grpc.enabled) {
    const { grpcTransport } = await import('ratatoskr/adapters/grpc')
    transports.push(grpcTransport(listenOf(config.grpc)))
  }
  if (config.websocket.enabled) {
    const { webSocketTransport } = await import('ratatoskr/adapters/websocket')
    transports.push(
      webSocketTransport({ ...listenOf(config.websocket), allowedOrigins: config.websocket.allowedOrigins }),
    )
  }
  if (config.http.enabled) {
    const { httpTransport } = await import('ratatoskr/adapters/http')
    transports.push(httpTransport(listenOf(config.http)))
  }
  if (config.tcp.enabled || config.unix.path !== undefined) {
    const { tcpTransport } = await import('ratatoskr/adapters/tcp')
    if (config.tcp.enabled) transports.push(tcpTransport(listenOf(config.tcp)))
    if (config.unix.path !== undefined) transports.push(tcpTransport({ path: config.unix.path }))
  }
  return transports
}

const listenOf = ({ host, port, insecure }: CompleteConfig['grpc']) => ({ host, port, insecure })

async function pluginsOf(config: CompleteConfig): Promise<Plugin[]> {
  const plugins: Plugin[] = []
  if (config.audit.enabled) {
    const { auditPlugin } = await import('ratatoskr/plugins/audit')
    plugins.push(auditPlugin({ file: config.audit.file, publishes: config.audit.publishes }))
  }
  if (config.metrics.enabled) {
    const { metricsPlugin } = await import('ratatoskr/plugins/metrics')
    plugins.push(metricsPlugin())
  }
  return plugins
}

/** OpenTelemetry's: an application that wants the numbers loads an SDK before us (`node --import`); without, they cost nothing. */
async function metricsOf({ metrics }: CompleteConfig): Promise<Metrics | undefined> {
  if (!metrics.enabled || !telemetryIsRegistered()) return undefined
  const { openTelemetryMetrics } = await import('ratatoskr/adapters/opentelemetry')
  return openTelemetryMetrics()
}

async function securityOf({ auth }: CompleteConfig) {
  if (auth.tokens.length === 0) return undefined
  const { staticTokens } = await import('ratatoskr/adapters/static-auth')
  const tokens = await Promise.all(
    auth.tokens.map(
      async ({ token, tokenFile, ...holder }) =>
        [await secretOf(holder.name, token, tokenFile), holder] as const,
    ),
  )
  return staticTokens({ tokens: Object.fromEntries(tokens) })
}

async function secretOf(name: string, token: string | undefined, file: string | undefined): Promise<string> {
  if ((token === undefined) === (file === undefined)) {
    throw new RatatoskrError(
      'RTK_CONFIG_INVALID',
      `auth.tokens: ${JSON.stringify(name)} needs either token or tokenFile`,
    )
  }
  if (token !== undefined) return token
  try {
    return (await readFile(file as string, 'utf8')).trim()
  } catch (cause) {
    throw new RatatoskrError(
      'RTK_CONFIG_INVALID',
      `auth.tokens: the tokenFile of ${JSON.stringify(name)} cannot be read`,
      { cause },
    )
  }
}

/** Without the keys that are undefined, so that defaults apply. */
const definedOnly = <T extends object>(object: T): T =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T

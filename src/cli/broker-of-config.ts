/** Assembles the broker that a configuration describes. Adapters are loaded only when they are asked for. */
import { readFile } from 'node:fs/promises'
import { format, parse } from 'node:path'
import type { BrokerOptions } from '../composition/broker-options.ts'
import { createServedBroker } from '../composition/create-served-broker.ts'
import type { ServedBroker } from '../composition/served-broker.ts'
import { type Metrics, type Plugin, RatatoskrError, type Storage, type Transport } from '../ports/index.ts'
import { loadConfig } from './config/load.ts'
import type { CompleteConfig } from './config/schema.ts'
import { telemetryIsRegistered } from './telemetry.ts'
import { assertFree } from './workers/free-ports.ts'
import { assertWorkers, directoryOfWorker, noteWorkers } from './workers/worker-directories.ts'

export async function brokerOfConfig(config: CompleteConfig, configFile?: string): Promise<ServedBroker> {
  if (config.storage.kind === 'disk') await assertWorkers(config.storage.directory, config.workers)
  const options = await optionsOf(config, 0)
  if (config.workers === 1) return createServedBroker({ ...options, transports: await transportsOf(config) })
  for (const { host, port } of sharedListeners(config)) await assertFree(host, port)
  const { workerThreads } = await import('./workers/threads.ts')
  const threads = workerThreads({
    config,
    configFile,
    prepare: async () => {
      if (config.storage.kind === 'disk') await noteWorkers(config.storage.directory, config.workers)
    },
  })
  const shared = await sharedTransportsOf(config)
  return createServedBroker(
    { ...options, transports: [...shared, ...(await ownTransportsOf(config))] },
    threads,
  )
}

/** What a worker of the broker is made of, beside its transports. */
export const workerOptionsOf = (config: CompleteConfig, index: number): Promise<BrokerOptions> =>
  optionsOf(config, index)

/** The configuration's own plugins, made anew. @param file the one that was named, when it was */
export async function pluginsOfConfigFile(file: string | undefined): Promise<Plugin[]> {
  const { config } = await loadConfig({ directory: process.cwd(), environment: process.env, file, flags: [] })
  return config.plugins
}

/** @param worker 0 for the first, or only, one */
async function optionsOf(config: CompleteConfig, worker: number): Promise<BrokerOptions> {
  const { nodePlatform, jsonLogger } = await import('ratatoskr/adapters/node')
  return {
    storage: await storageOf(config, directoryOfWorker(config.storage.directory, worker)),
    plugins: [...(await pluginsOf(config, worker)), ...config.plugins],
    security: await securityOf(config),
    metrics: await metricsOf(config),
    limits: definedOnly(config.limits),
    autoCreateTopics: config.topics.autoCreate,
    topicDefaults: definedOnly(config.topics.defaults),
    verifyRecords: config.verifyRecords,
    platform: nodePlatform({ logger: jsonLogger({ level: config.log.level }) }),
  }
}

async function storageOf({ storage }: CompleteConfig, directory: string): Promise<Storage> {
  if (storage.kind === 'memory') {
    const { memoryStorage } = await import('ratatoskr/adapters/memory')
    return memoryStorage(definedOnly({ bytesMax: storage.bytesMax }))
  }
  const { diskStorage } = await import('ratatoskr/adapters/disk')
  return diskStorage({ directory })
}

async function transportsOf(config: CompleteConfig): Promise<Transport[]> {
  const reusePort = false
  const transports: Transport[] = []
  if (config.grpc.enabled) transports.push(await grpcOf(config, { reusePort }))
  if (config.websocket.enabled) transports.push(await webSocketOf(config, { reusePort }))
  if (config.http.enabled) transports.push(await httpOf(config))
  if (config.tcp.enabled) transports.push(await tcpOf(config, { reusePort }))
  if (config.unix.path !== undefined) transports.push(await unixOf(config.unix.path))
  return transports
}

/**
 * The transports that all workers have: what is on a connection concerns that connection alone. @param ports those that the
 * controller listens on, in order; undefined for the controller itself
 */
export async function sharedTransportsOf(
  config: CompleteConfig,
  ports?: readonly number[],
): Promise<Transport[]> {
  const makers = { grpc: grpcOf, websocket: webSocketOf, tcp: tcpOf }
  const transports: Transport[] = []
  for (const name of sharedNames) {
    if (!config[name].enabled) continue
    const port = ports?.[transports.length] ?? config[name].port
    transports.push(await makers[name](config, { reusePort: true, port }))
  }
  return transports
}

/** The transports that the controller has alone: over HTTP a subscription is fed by requests of other connections. */
async function ownTransportsOf(config: CompleteConfig): Promise<Transport[]> {
  const transports: Transport[] = []
  if (config.http.enabled) transports.push(await httpOf(config))
  if (config.unix.path !== undefined) transports.push(await unixOf(config.unix.path))
  return transports
}

const sharedNames = ['grpc', 'websocket', 'tcp'] as const

const sharedListeners = (config: CompleteConfig) =>
  sharedNames.map((name) => config[name]).filter(({ enabled }) => enabled)

/** How one of several event loops listens. */
interface Listening {
  readonly reusePort: boolean
  readonly port?: number
}

async function grpcOf(config: CompleteConfig, listening: Listening): Promise<Transport> {
  const { grpcTransport } = await import('ratatoskr/adapters/grpc')
  return grpcTransport({ ...listenOf(config.grpc), ...listening })
}

async function webSocketOf(config: CompleteConfig, listening: Listening): Promise<Transport> {
  const { webSocketTransport } = await import('ratatoskr/adapters/websocket')
  const { allowedOrigins } = config.websocket
  return webSocketTransport({ ...listenOf(config.websocket), allowedOrigins, ...listening })
}

async function tcpOf(config: CompleteConfig, listening: Listening): Promise<Transport> {
  const { tcpTransport } = await import('ratatoskr/adapters/tcp')
  return tcpTransport({ ...listenOf(config.tcp), ...listening })
}

async function httpOf(config: CompleteConfig): Promise<Transport> {
  const { httpTransport } = await import('ratatoskr/adapters/http')
  return httpTransport(listenOf(config.http))
}

async function unixOf(path: string): Promise<Transport> {
  const { tcpTransport } = await import('ratatoskr/adapters/tcp')
  return tcpTransport({ path })
}

const listenOf = ({ host, port, insecure }: CompleteConfig['grpc']) => ({ host, port, insecure })

async function pluginsOf(config: CompleteConfig, worker: number): Promise<Plugin[]> {
  const plugins: Plugin[] = []
  if (config.audit.enabled) {
    const { auditPlugin } = await import('ratatoskr/plugins/audit')
    const { file, publishes } = config.audit
    plugins.push(auditPlugin({ file: fileOfWorker(file, worker), publishes }))
  }
  if (config.metrics.enabled) {
    const { metricsPlugin } = await import('ratatoskr/plugins/metrics')
    plugins.push(metricsPlugin())
  }
  return plugins
}

/** `audit.jsonl` of the first worker is `audit-1.jsonl` of the next: each line holds the hash of the one before it. */
function fileOfWorker(file: string, worker: number): string {
  const { dir, name, ext } = parse(file)
  return worker === 0 ? file : format({ dir, name: `${name}-${worker}`, ext })
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

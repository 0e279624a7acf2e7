/**
 * Configuration from the environment: `RATATOSKR_STORAGE__DIRECTORY` is `storage.directory` (two underscores divide
 * levels, one joins words), and beside it the short names of the first Ratatoskr, with or without the prefix.
 */
import { RatatoskrError } from '../../ports/index.ts'
import type { Setting } from './settings.ts'

const prefix = 'RATATOSKR_'

/** The first Ratatoskr's names, and the key that each sets. */
const shortNames: Readonly<Record<string, readonly string[]>> = {
  MAX_TOPICS: ['limits', 'topicsMax'],
  MAX_SUBSCRIBERS: ['limits', 'subscribersPerTopicMax'],
  RETENTION_MS: ['topics', 'defaults', 'retentionMs'],
  TOPIC_BUFFER_SIZE: ['limits', 'partitionQueueMessagesMax'],
  SUBSCRIBER_TIMEOUT: ['limits', 'memberTimeoutMs'],
  STORAGE_PATH: ['storage', 'directory'],
  STORAGE_ADAPTER: ['storage', 'kind'],
  GRPC_PORT: ['grpc', 'port'],
  HTTP_PORT: ['http', 'port'],
}

/** Names that only a cluster has a use for: accepted while they ask for nothing. */
const clusterNames: Readonly<Record<string, readonly string[]>> = {
  CLUSTER_NODES: ['', '[]'],
  NODE_DISCOVERY: ['', 'static'],
}

/** Variables that belong to the command itself, or to its process, not to the server's configuration. */
const commandNames = new Set([
  'RATATOSKR_URL',
  'RATATOSKR_TOKEN',
  'RATATOSKR_CONFIG',
  'RATATOSKR_CHECK_MEMORY',
])

/** Reads the settings that the environment makes. @throws RTK_CONFIG_INVALID for a cluster setting */
export function settingsOfEnvironment(environment: Readonly<Record<string, string | undefined>>): Setting[] {
  const settings: Setting[] = []
  for (const [variable, text] of Object.entries(environment)) {
    if (text === undefined || commandNames.has(variable)) continue
    const short = variable.startsWith(prefix) ? variable.slice(prefix.length) : variable
    const idle = clusterNames[short.toUpperCase()]
    if (idle !== undefined) refuseCluster(variable, text, idle)
    else if (Object.hasOwn(shortNames, short)) settings.push(setting(shortNames[short], variable, text))
    else if (variable.startsWith(prefix)) settings.push(setting(pathOf(short), variable, text))
  }
  return settings
}

const setting = (path: readonly string[], variable: string, text: string): Setting => ({
  path,
  value: text,
  origin: `environment variable ${variable}`,
  text: true,
})

function refuseCluster(variable: string, text: string, idle: readonly string[]): void {
  if (idle.includes(text.trim())) return
  throw new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `${variable} asks for a cluster, which this version does not have; unset it (from environment variable ${variable})`,
  )
}

/** `STORAGE__BYTES_MAX` -> `['storage', 'bytesMax']`. */
const pathOf = (name: string): string[] =>
  name
    .split('__')
    .map((level) => level.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()))

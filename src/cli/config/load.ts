/**
 * Configuration of the server, from its layers: defaults < file < environment < flags. An unknown key or a bad value is
 * an error that names the key, what was expected, and which layer it came from.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { suggestion } from '../../domain/suggest.ts'
import { type Durability, quoteForMessage, RatatoskrError } from '../../ports/index.ts'
import { settingsOfEnvironment } from './environment.ts'
import { Misfit } from './rules.ts'
import { type CompleteConfig, completeConfig } from './schema.ts'
import { mergeSettings, restoreText, type Setting, type SettingsTree, settingsOfTree } from './settings.ts'

/** A configuration, and for each key that was set the place it came from. */
export interface LoadedConfig {
  readonly config: CompleteConfig
  /** Origin by dotted key; keys that are not in it have their default. */
  readonly origins: ReadonlyMap<string, string>
}

export interface ConfigSources {
  /** A file that must exist; otherwise the first of the usual names, if any. */
  readonly file?: string | undefined
  readonly directory: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly flags: readonly Setting[]
}

const usualFiles = ['ts', 'mts', 'js', 'mjs', 'json', 'yaml', 'yml'].map((type) => `ratatoskr.config.${type}`)

/** Reads and checks the configuration. @throws RTK_CONFIG_INVALID, RTK_CONFIG_UNKNOWN_KEY */
export async function loadConfig(sources: ConfigSources): Promise<LoadedConfig> {
  const settings = [
    ...(await settingsOfFile(sources)),
    ...settingsOfEnvironment(sources.environment),
    ...sources.flags,
  ]
  const { tree, origins } = mergeSettings(settings)
  const config = completeOf(tree, origins)
  assertReachable(config, origins)
  return {
    config,
    origins: new Map([...origins].map(([key, setting]) => [key, setting.origin])),
  }
}

/** @throws RTK_CONFIG_INVALID, RTK_CONFIG_UNKNOWN_KEY */
function completeOf(tree: SettingsTree, origins: ReadonlyMap<string, Setting>): CompleteConfig {
  const restored = new Set<Setting>()
  for (;;) {
    try {
      return completeConfig(tree)
    } catch (error) {
      if (!(error instanceof Misfit)) throw error
      const setting = origins.get(error.path.join('.'))
      if (!error.wantsText || setting?.text !== true || restored.has(setting))
        throw configError(error, tree, origins)
      restored.add(setting)
      restoreText(tree, setting)
    }
  }
}

/** Levels that each storage reaches; disk takes `memory` for the next level that it has. */
const reachable: Readonly<Record<CompleteConfig['storage']['kind'], readonly Durability[]>> = {
  memory: ['memory'],
  disk: ['memory', 'os', 'interval', 'fsync'],
}

/** What no topic could be created with must not wait for the first topic to be found wrong. */
function assertReachable({ storage, topics }: CompleteConfig, origins: ReadonlyMap<string, Setting>): void {
  const level = topics.defaults.durability
  if (level === undefined || reachable[storage.kind].includes(level)) return
  const key = 'topics.defaults.durability'
  throw new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `${key}: ${storage.kind} storage reaches ${reachable[storage.kind].join(', ')}, got "${level}" (from ${originOf(key, origins)})`,
  )
}

async function settingsOfFile(sources: ConfigSources): Promise<Setting[]> {
  const explicit = sources.file ?? sources.environment.RATATOSKR_CONFIG
  const path =
    explicit === undefined
      ? usualFiles.map((name) => resolve(sources.directory, name)).find((file) => existsSync(file))
      : resolve(sources.directory, explicit)
  if (path === undefined) return []
  const origin = `file ${basename(path)}`
  if (!existsSync(path)) {
    throw new RatatoskrError(
      'RTK_CONFIG_INVALID',
      `the configuration file ${explicit} does not exist (from ${sources.file === undefined ? 'RATATOSKR_CONFIG' : '--config'})`,
    )
  }
  const content = await readConfigFile(path, origin)
  if (content === null || content === undefined) return []
  if (typeof content !== 'object' || Array.isArray(content)) {
    throw new RatatoskrError(
      'RTK_CONFIG_INVALID',
      `a configuration is an object of keys and values, got ${Array.isArray(content) ? 'a list' : typeof content} (from ${origin})`,
    )
  }
  return settingsOfTree(content, origin)
}

async function readConfigFile(path: string, origin: string): Promise<unknown> {
  try {
    switch (extname(path)) {
      case '.json':
        return JSON.parse(await readFile(path, 'utf8'))
      case '.yaml':
      case '.yml':
        return (await import('yaml')).parse(await readFile(path, 'utf8'))
      case '.ts':
      case '.mts':
      case '.js':
      case '.mjs':
        return ((await import(pathToFileURL(path).href)) as { default?: unknown }).default
      default:
        throw new Error(`files of type ${extname(path) || 'none'} are not read; use .ts, .js, .json or .yaml`)
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    throw new RatatoskrError(
      'RTK_CONFIG_INVALID',
      `the configuration could not be read: ${reason} (from ${origin})`,
      { cause: error },
    )
  }
}

/** What is wrong as an error that says what to do. */
function configError(
  { path, message, keys }: Misfit,
  tree: unknown,
  origins: ReadonlyMap<string, Setting>,
): RatatoskrError {
  const key = path.join('.')
  if (keys !== undefined) {
    const hint = suggestion(path.at(-1) ?? '', keys)
    return new RatatoskrError(
      'RTK_CONFIG_UNKNOWN_KEY',
      `${key} is not a configuration key; ${hint} (from ${originOf(key, origins)})`,
    )
  }
  const got = path.reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step], tree)
  return new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `${key}: ${message}, got ${quoteForMessage(got)} (from ${originOf(key, origins)})`,
  )
}

function originOf(key: string, origins: ReadonlyMap<string, Setting>): string {
  for (const [path, setting] of [...origins].reverse()) {
    if (path === key || path.startsWith(`${key}.`) || key.startsWith(`${path}.`)) return setting.origin
  }
  return 'defaults'
}

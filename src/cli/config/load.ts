/**
 * Configuration of the server, from its layers: defaults < file < environment < flags. An unknown key or a bad value is
 * an error that names the key, what was expected, and which layer it came from.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { z } from 'zod'
import { suggestion } from '../../domain/suggest.ts'
import { type Durability, quoteForMessage, RatatoskrError } from '../../ports/index.ts'
import { settingsOfEnvironment } from './environment.ts'
import { type CompleteConfig, configSchema } from './schema.ts'
import { mergeSettings, restoreText, type Setting, settingsOfTree } from './settings.ts'

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
  let result = configSchema.safeParse(tree)
  if (!result.success) {
    for (const issue of result.error.issues) {
      const setting = origins.get(issue.path.join('.'))
      if (setting?.text === true && issue.code === 'invalid_type' && issue.expected === 'string')
        restoreText(tree, setting)
    }
    result = configSchema.safeParse(tree)
  }
  if (!result.success) throw configError(result.error.issues[0], tree, origins)
  assertReachable(result.data, origins)
  return {
    config: result.data,
    origins: new Map([...origins].map(([key, setting]) => [key, setting.origin])),
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

/** The first issue as an error that says what to do. */
function configError(
  issue: z.core.$ZodIssue,
  tree: unknown,
  origins: ReadonlyMap<string, Setting>,
): RatatoskrError {
  const path = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    const key = [...path, issue.keys[0]].join('.')
    const hint = suggestion(issue.keys[0], knownKeys(path))
    return new RatatoskrError(
      'RTK_CONFIG_UNKNOWN_KEY',
      `${key} is not a configuration key; ${hint} (from ${originOf(key, origins)})`,
    )
  }
  const key = path.join('.')
  const got = path.reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step], tree)
  return new RatatoskrError(
    'RTK_CONFIG_INVALID',
    `${key}: ${issue.message}, got ${quoteForMessage(got)} (from ${originOf(key, origins)})`,
  )
}

/** Names that may stand at a path, for suggestions. */
function knownKeys(path: readonly string[]): string[] {
  let at: unknown = configSchema
  for (const step of ['', ...path]) {
    if (step !== '')
      at = (at as { shape?: Record<string, unknown> }).shape?.[step] ?? (at as { element?: unknown }).element
    while (
      at !== undefined &&
      !(at as { shape?: unknown }).shape &&
      (at as { unwrap?: () => unknown }).unwrap
    ) {
      at = (at as { unwrap: () => unknown }).unwrap()
    }
  }
  return Object.keys((at as { shape?: object } | undefined)?.shape ?? {})
}

function originOf(key: string, origins: ReadonlyMap<string, Setting>): string {
  for (const [path, setting] of [...origins].reverse()) {
    if (path === key || path.startsWith(`${key}.`) || key.startsWith(`${path}.`)) return setting.origin
  }
  return 'defaults'
}

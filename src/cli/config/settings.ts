/**
 * Layers of settings: each is a value at a path, with where it came from. Later layers win, and the origin of each
 * value stays known, so that a mistake can be named together with its place.
 */

/** One value and its place. */
export interface Setting {
  readonly path: readonly string[]
  readonly value: unknown
  /** `file ratatoskr.config.yaml`, `environment variable GRPC_PORT`, `flag --grpc-port`. */
  readonly origin: string
  /** True when `value` is text that stands for a number, a truth value or a list. */
  readonly text?: boolean
}

export type SettingsTree = Record<string, unknown>

const isTree = (value: unknown): value is SettingsTree =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  [Object.prototype, null].includes(Object.getPrototypeOf(value))

/** The settings of a nested object, a leaf each. */
export function settingsOfTree(tree: unknown, origin = '', path: readonly string[] = []): Setting[] {
  if (!isTree(tree) || (path.length > 0 && Object.keys(tree).length === 0))
    return [{ path, value: tree, origin }]
  return Object.entries(tree).flatMap(([key, value]) => settingsOfTree(value, origin, [...path, key]))
}

/** What text stands for: a number, a truth value, JSON of a list or an object, or itself. */
export function valueOfText(text: string): unknown {
  const trimmed = text.trim()
  if (trimmed === 'true' || trimmed === 'false') return trimmed === 'true'
  if (/^-?\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed)
  if (!/^[[{]/.test(trimmed)) return text
  try {
    return JSON.parse(trimmed)
  } catch {
    return text
  }
}

/** One object of all settings, later ones winning, and the origin of each path. */
export function mergeSettings(settings: readonly Setting[]): {
  tree: SettingsTree
  origins: Map<string, Setting>
} {
  const tree: SettingsTree = Object.create(null)
  const origins = new Map<string, Setting>()
  for (const setting of settings) {
    let at = tree
    for (const key of setting.path.slice(0, -1)) {
      if (!isTree(at[key])) at[key] = Object.create(null)
      at = at[key] as SettingsTree
    }
    const last = setting.path.at(-1)
    if (last === undefined) continue
    at[last] = setting.text === true ? valueOfText(setting.value as string) : setting.value
    origins.set(setting.path.join('.'), setting)
  }
  return { tree, origins }
}

/** Puts a setting's raw text where its meaning was taken for a number or the like: a directory may be called `5`. */
export function restoreText(tree: SettingsTree, setting: Setting): void {
  let at = tree
  for (const key of setting.path.slice(0, -1)) at = at[key] as SettingsTree
  at[setting.path.at(-1) as string] = setting.value
}

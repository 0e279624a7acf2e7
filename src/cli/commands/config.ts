/** `ratatoskr config print` and `config validate`. */
import { type ConfigFlags, loadConfigOf } from '../config/flags.ts'
import { settingsOfTree } from '../config/settings.ts'
import { type OutputFormat, printRows } from '../output.ts'

export async function printConfig(flags: ConfigFlags & { output: OutputFormat }): Promise<void> {
  const { config, origins } = await loadConfigOf(flags)
  const rows = settingsOfTree(config)
    .filter(({ value }) => value !== undefined)
    .map(({ path, value }) => {
      const key = path.join('.')
      return { key, value: redact(key, value), from: originOf(key, origins) }
    })
  await printRows(rows, ['key', 'value', 'from'], flags.output)
}

export async function validateConfig(flags: ConfigFlags): Promise<void> {
  await loadConfigOf(flags)
  process.stderr.write('the configuration is valid\n')
}

function originOf(key: string, origins: ReadonlyMap<string, string>): string {
  for (let path = key; path !== ''; path = path.slice(0, Math.max(path.lastIndexOf('.'), 0))) {
    const origin = origins.get(path)
    if (origin !== undefined) return origin
  }
  return 'default'
}

/** Secrets are not shown, and neither are plugins, which are code. */
function redact(key: string, value: unknown): unknown {
  if (key === 'auth.tokens')
    return (value as { name: string }[]).map(({ name }) => ({ name, token: '(hidden)' }))
  if (key === 'plugins') return (value as { name: string }[]).map(({ name }) => name)
  return value
}

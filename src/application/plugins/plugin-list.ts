/** What must be true of a list of plugins before any of them is set up. */
import { type Plugin, quoteForMessage, RatatoskrError } from '../../ports/index.ts'

const nameCharacters = /^[A-Za-z0-9._-]{1,128}$/

/** @throws RTK_PLUGIN_INVALID when an entry is no plugin, a name is wrong or taken, or a requirement does not stand before */
export function assertPlugins(plugins: readonly Plugin[]): void {
  const before = new Set<string>()
  for (const plugin of plugins) {
    assertShape(plugin)
    const { name, requires = [] } = plugin
    if (before.has(name)) throw invalid(`two plugins are named "${name}"; names must be unique`)
    for (const required of requires) {
      if (before.has(required)) continue
      const later = plugins.some((other) => other.name === required)
      const advice = later ? 'move it before this one' : 'add it to the list'
      throw invalid(`plugin "${name}" requires ${quoteForMessage(required)} to stand before it: ${advice}`)
    }
    before.add(name)
  }
}

function assertShape(plugin: Plugin): void {
  if (typeof plugin !== 'object' || plugin === null) {
    throw invalid(`a plugin is an object with name and setup, got ${quoteForMessage(plugin)}`)
  }
  if (typeof plugin.name !== 'string' || !nameCharacters.test(plugin.name)) {
    throw invalid(
      `a plugin's name is 1 to 128 characters of A-Z a-z 0-9 . _ -, got ${quoteForMessage(plugin.name)}`,
    )
  }
  if (typeof plugin.setup !== 'function') throw invalid(`plugin "${plugin.name}" has no setup function`)
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_PLUGIN_INVALID', message)

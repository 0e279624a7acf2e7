/**
 * Keeps the compiled form of the modules of the command between its runs, which spares each start a part of its time.
 * Node's own default lies in the shared temporary directory, where another user could lay code for us: so it is the
 * user's own cache directory, and there is no cache where there is none.
 */
import { existsSync } from 'node:fs'
import { enableCompileCache, flushCompileCache } from 'node:module'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'

/** True when an earlier run has left compiled modules. */
let filled = false

/** Turns the cache on. `NODE_COMPILE_CACHE` goes before; what cannot be written is compiled at each start, as ever. */
export function keepCompiledModules(): void {
  const { NODE_COMPILE_CACHE: chosen, NODE_DISABLE_COMPILE_CACHE: disabled } = process.env
  if (chosen !== undefined || disabled !== undefined) return
  const directory = cacheDirectory(process.env, process.platform)
  if (directory === undefined) return
  filled = existsSync(directory)
  enableCompileCache(directory)
}

/**
 * Lets go of the compiled form of what was loaded so far, which Node otherwise holds until the process ends: some megabytes of a
 * server. New ones are written by it; where all are new that is left to the end of the process, for it takes longer than loading.
 */
export function dropCompiledModules(): void {
  if (filled) flushCompileCache()
}

/** Where the user's caches are, by the conventions of the system. */
export function cacheDirectory(
  environment: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform,
  home: () => string = homedir,
): string | undefined {
  const named = platform === 'win32' ? environment.LOCALAPPDATA : environment.XDG_CACHE_HOME
  // What XDG and Windows name must be absolute; anything else would make a directory wherever the command is run.
  const base = named !== undefined && isAbsolute(named) ? named : join(homeOf(home), '.cache')
  return isAbsolute(base) ? join(base, 'ratatoskr', 'compiled') : undefined
}

/** The user's home; nothing for a user of the system's who has none. */
function homeOf(home: () => string): string {
  try {
    return home()
  } catch {
    return ''
  }
}

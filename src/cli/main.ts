#!/usr/bin/env node
/**
 * The `ratatoskr` command as a process. Each subcommand loads what it needs when it runs, so that `--help` stays quick.
 */
import { keepCompiledModules } from './compile-cache.ts'
import { exitCodes } from './exit-codes.ts'
import { optimizeLater } from './late-optimizing.ts'

if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write(`ratatoskr needs Node 24 or later; this is ${process.version}\n`)
  process.exit(exitCodes.failure)
}

// A reader that has seen enough closes the pipe: that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(exitCodes.ok)
  process.stderr.write(`ratatoskr: stdout could not be written (${error.code ?? error.message})\n`)
  process.exit(exitCodes.failure)
})

// Other commands do at once what they are for.
if (process.argv[2] === 'serve') optimizeLater()

// Before anything else is loaded, for the few above are all that it misses.
keepCompiledModules()
const { run } = await import('./run.ts')
await run(process.argv.slice(2))

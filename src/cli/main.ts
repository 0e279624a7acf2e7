#!/usr/bin/env node
/**
 * The `ratatoskr` command. Each subcommand loads what it needs when it runs, so that `--help` stays quick.
 */
import { exitCodeOf, exitCodes } from './exit-codes.ts'

if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write(`ratatoskr needs Node 24 or later; this is ${process.version}\n`)
  process.exit(exitCodes.failure)
}

// A reader that has seen enough closes the pipe: that is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? exitCodes.ok : exitCodes.failure)
})

const { buildProgram } = await import('./program.ts')
try {
  await buildProgram().parseAsync(process.argv)
} catch (error) {
  process.exitCode = report(error)
}

/** Prints an error as one line with its code. @returns the exit code */
function report(error: unknown): number {
  if (error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number') {
    return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage // commander has printed it
  }
  const code = error instanceof Error && 'code' in error ? `${String(error.code)}: ` : ''
  process.stderr.write(`ratatoskr: ${code}${error instanceof Error ? error.message : String(error)}\n`)
  return exitCodeOf(error)
}

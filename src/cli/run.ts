/** Runs the command of an argument list, and turns what it throws into one line on stderr and an exit code. */
import { exitCodeOf, exitCodes } from './exit-codes.ts'
import { buildProgram } from './program.ts'

/** Runs a command line; `args` are the words after `ratatoskr`. A failure sets `process.exitCode`. */
export async function run(args: readonly string[]): Promise<void> {
  try {
    await buildProgram().parseAsync(args, { from: 'user' })
  } catch (error) {
    process.exitCode = report(error)
  }
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

/**
 * Runs a command in this process, with its streams, environment and working directory replaced: for tests of what a
 * command does, which need no process of their own. One runs at a time.
 */
import { Readable } from 'node:stream'
import { run } from '../run.ts'

export interface RunOptions {
  /** What stdin holds, as its chunks come. */
  readonly input?: readonly (Uint8Array | string)[]
  /** Stands for stdin altogether, such as a terminal. */
  readonly stdin?: Readable
  readonly cwd?: string
  readonly environment?: Readonly<Record<string, string>>
}

export interface RunResult {
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: string
}

/** Runs `ratatoskr` with these arguments to its end. */
export async function runHere(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const out = capture(process.stdout)
  const err = capture(process.stderr)
  const before = { cwd: process.cwd(), env: process.env, exitCode: process.exitCode }
  const stdin = Object.getOwnPropertyDescriptor(process, 'stdin') as PropertyDescriptor
  const input = options.stdin ?? Readable.from((options.input ?? []).map((chunk) => Buffer.from(chunk)))
  Object.defineProperty(process, 'stdin', { configurable: true, get: () => input })
  process.env = { PATH: before.env.PATH, ...options.environment }
  process.exitCode = undefined
  if (options.cwd !== undefined) process.chdir(options.cwd)
  try {
    await run(args)
    return { code: Number(process.exitCode ?? 0), stdout: out.bytes(), stderr: err.bytes().toString() }
  } finally {
    process.chdir(before.cwd)
    process.env = before.env
    process.exitCode = before.exitCode
    Object.defineProperty(process, 'stdin', stdin)
    out.restore()
    err.restore()
  }
}

function capture(stream: NodeJS.WriteStream): { bytes(): Buffer; restore(): void } {
  const chunks: Buffer[] = []
  const { write } = stream
  stream.write = ((chunk: Uint8Array | string, ...rest: unknown[]) => {
    chunks.push(Buffer.from(chunk as Uint8Array))
    const done = rest.at(-1)
    if (typeof done === 'function') done()
    return true
  }) as typeof write
  return {
    bytes: () => Buffer.concat(chunks),
    restore: () => {
      stream.write = write
    },
  }
}

/** The lines of what was printed, each read as JSON. */
export const jsonLines = <T>(printed: Buffer): T[] =>
  printed
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)

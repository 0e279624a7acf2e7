/** Runs the `ratatoskr` command in a process of its own, as a shell does. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cleanEnvironment, nodeArguments } from './server-process.ts'

export interface CommandOptions {
  readonly input?: Uint8Array | string
  readonly cwd?: string
  readonly environment?: Readonly<Record<string, string>>
}

export interface CommandResult {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** Runs it to its end. */
export async function runCommand(
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = spawn(process.execPath, [...nodeArguments, ...args], {
    cwd: options.cwd,
    env: cleanEnvironment(options.environment),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (chunk) => out.push(chunk))
  child.stderr.on('data', (chunk) => err.push(chunk))
  // A command that ends before it has read everything closes the pipe.
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.input ?? '')
  const [code] = await once(child, 'close')
  return { code, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() }
}

/** Runs the tools that the clients need, and keeps what they install. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

export const root = join(import.meta.dirname, '..', '..', '..')
const cache = join(root, 'node_modules', '.cache', 'ratatoskr-foreign-clients')
export const installTimeoutMs = 150_000

export interface Command {
  readonly file: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

const execute = promisify(execFile)

/** @returns what the command printed @throws Error with what it complained of */
export async function run({ file, args, env }: Command, timeoutMs: number, cwd = root): Promise<string> {
  const options = {
    cwd,
    env: { ...process.env, ...env },
    timeout: timeoutMs,
    killSignal: 'SIGKILL' as const,
    maxBuffer: 64 * 1024 * 1024,
  }
  try {
    return (await execute(file, [...args], options)).stdout
  } catch (error) {
    const { killed, stderr = '', message } = error as Error & { killed?: boolean; stderr?: string }
    const why = killed ? `took more than ${timeoutMs / 1000} s` : stderr.trim().slice(-2_000) || message
    throw new Error(`${file} ${args.slice(0, 3).join(' ')}: ${why}`, { cause: error })
  }
}

/** A directory that is filled once for all runs with the same `parts`. */
export async function cached(
  name: string,
  parts: readonly string[],
  fill: (directory: string) => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16)
  const directory = join(cache, `${name}-${hash}`)
  const complete = join(directory, 'complete')
  if (await stat(complete).catch(() => undefined)) return directory
  await rm(directory, { recursive: true, force: true })
  await mkdir(directory, { recursive: true })
  await fill(directory)
  await writeFile(complete, '')
  return directory
}

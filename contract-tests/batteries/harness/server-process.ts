/** A server in a process of its own, as `ratatoskr serve` runs it: for tests of the command and of crashes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const commandFile = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url))
const builtCommandFile = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
export const nodeArguments = ['--conditions=source', commandFile]

export interface ServerOptions {
  readonly directory: string
  /** Arguments of `serve`; a port given here takes the place of a free one. */
  readonly args?: readonly string[]
  /** Arguments of Node, such as a module to preload. */
  readonly nodeArgs?: readonly string[]
  /** Runs what was built instead of the sources, which spares it stripping types at each start. */
  readonly built?: boolean
  /** Runs this file instead, the command as it was built somewhere. */
  readonly command?: string
  readonly environment?: Readonly<Record<string, string>>
}

/** The environment without what would configure a broker; Node's cache of compiled modules, where there is one, stays. */
export const cleanEnvironment = (more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  HOME: process.env.HOME,
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
  ...more,
})

export class ServerProcess implements AsyncDisposable {
  readonly child: ChildProcess
  /** What it printed on stderr, a line each. */
  readonly lines: string[] = []
  /** URLs by scheme: grpc, ws, http. */
  readonly urls: Record<string, string> = {}
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  /** From the start of the process until it served; undefined before. */
  readyMs: number | undefined
  /** The part of `readyMs` in which the broker itself started, recovery included; Node's start and loading come before. */
  startMs: number | undefined

  /** Resolves when it serves. @throws Error with what it printed when it ends before */
  readonly ready: Promise<void>

  private constructor(child: ChildProcess) {
    const begunMs = performance.now()
    this.child = child
    this.exited = once(child, 'close').then(([code, signal]) => ({ code, signal }))
    const ready = Promise.withResolvers<void>()
    this.ready = ready.promise
    createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
      this.lines.push(line)
      const told = readyLine(line)
      if (told === undefined) return
      for (const url of told.addresses) this.urls[url.slice(0, url.indexOf(':'))] = url
      this.readyMs = performance.now() - begunMs
      this.startMs = told.startMs
      ready.resolve()
    })
    void this.exited.then(({ code, signal }) =>
      ready.reject(
        new Error(`the server ended (${code ?? signal}) before it was ready:\n${this.lines.join('\n')}`),
      ),
    )
  }

  /** Starts one on free ports, and waits until it serves. */
  static async start(options: ServerOptions): Promise<ServerProcess> {
    const server = ServerProcess.spawn(options)
    await server.ready
    return server
  }

  /** Starts one on free ports. */
  static spawn(options: ServerOptions): ServerProcess {
    const { directory, args = [], nodeArgs = [], built = false, environment } = options
    const command = options.command ?? (built ? builtCommandFile : undefined)
    const ports = ['--grpc-port', '0', '--http-port', '0', '--websocket-port', '0', '--tcp-port', '0']
    const child = spawn(
      process.execPath,
      [
        ...nodeArgs,
        ...(command === undefined ? nodeArguments : [command]),
        'serve',
        '--directory',
        directory,
        ...ports,
        ...args,
      ],
      { env: cleanEnvironment(environment), stdio: ['ignore', 'ignore', 'pipe'] },
    )
    return new ServerProcess(child)
  }

  /** Ends it at once, as a crash would, and waits until it is gone. */
  async crash(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.exited
  }

  /** Asks it to stop. @returns its exit code */
  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM')
    return (await this.exited).code
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.crash()
  }
}

function readyLine(line: string): { readonly addresses: string[]; readonly startMs: number } | undefined {
  if (!line.includes('"ready"')) return undefined
  const { message, addresses, startMs } = JSON.parse(line)
  return message === 'ready' ? { addresses, startMs } : undefined
}

/** True when the build is there and no source is younger: only then is it what the sources say. */
export function buildIsCurrent(): boolean {
  const root = fileURLToPath(new URL('../../../', import.meta.url))
  try {
    const builtMs = statSync(builtCommandFile).mtimeMs
    return ['src', 'adapters', 'plugins', 'proto'].every((folder) =>
      readdirSync(root + folder, { recursive: true, withFileTypes: true }).every(
        (file) =>
          !file.isFile() ||
          !file.name.endsWith('.ts') ||
          file.name.endsWith('.test.ts') ||
          statSync(`${file.parentPath}/${file.name}`).mtimeMs < builtMs,
      ),
    )
  } catch {
    return false
  }
}

/** Options of a server that runs with a planted bug, which stands in the sources and not in the build. */
export const planted = (bug: string) => ({
  built: false,
  nodeArgs: ['--import', fileURLToPath(new URL('plant.ts', import.meta.url))],
  environment: { RATATOSKR_PLANTED: bug },
})

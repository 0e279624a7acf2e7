/** A server that is not ours: started with files and ports of its own, watched through /proc, ended by its process id. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Usage } from './child.ts'
import type { PeerServer } from './peer.ts'
import { residentMegabytes } from './resident.ts'

export interface ServerCommand {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** It is ready when it takes connections here. */
  readonly port: number
  readonly address: string
}

const readyMsMax = 60_000
const stopMsMax = 10_000
const ticksPerSecond = 100

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** The first match in what a command says of its version; undefined when it is not installed. */
export async function versionOf(
  command: string,
  args: readonly string[],
  pattern: RegExp,
): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(command, args)
    return pattern.exec(stdout)?.[1]
  } catch {
    return undefined
  }
}

/** Those that run now: a bench that is interrupted takes them with it. */
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export class ServerProcess implements PeerServer {
  readonly address: string
  readonly #child: ChildProcess
  #output = ''
  #cpuAtBegin = 0

  private constructor({ command, args, env, address }: ServerCommand) {
    this.address = address
    this.#child = spawn(command, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    running.add(this.#child)
    this.#child.once('exit', () => running.delete(this.#child))
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (data: Buffer) => {
        this.#output = `${this.#output}${data}`.slice(-4_000)
      })
    }
    this.#child.on('error', (error) => {
      this.#output += error.message
    })
  }

  /** Starts it without waiting until it is ready. */
  static spawned(command: ServerCommand): ServerProcess {
    return new ServerProcess(command)
  }

  static async start(command: ServerCommand): Promise<ServerProcess> {
    const server = new ServerProcess(command)
    try {
      await server.#ready(command)
      return server
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async windowBegin(): Promise<void> {
    this.#cpuAtBegin = (await usageOf(this.pid)).cpuSeconds
  }

  async usage(): Promise<Usage> {
    const { cpuSeconds, rssMegabytes } = await usageOf(this.pid)
    return { cpuSeconds: cpuSeconds - this.#cpuAtBegin, rssMegabytes }
  }

  /** @throws Error with what it said last, when it has ended */
  assertRunning(): void {
    const { pid, exitCode, signalCode, spawnfile } = this.#child
    if (pid !== undefined && exitCode === null && signalCode === null) return
    throw new Error(`${spawnfile} has ended; it said: ${this.#output}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopMsMax)
    await ended
    clearTimeout(timer)
  }

  async #ready({ command, port }: ServerCommand): Promise<void> {
    for (const beginMs = performance.now(); performance.now() - beginMs < readyMsMax; await sleep(50)) {
      this.assertRunning()
      if (await answers(port)) return
    }
    throw new Error(`${command} takes no connections on port ${port}; it said: ${this.#output}`)
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1' })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** CPU of a process and all below it, and what they have resident at most. */
async function usageOf(root: number): Promise<Usage> {
  const all = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(statOf))
  const family = new Set([root])
  // A child has a higher id than its parent but where ids have wrapped: then it is missed until the next pass.
  for (let size = 0; size !== family.size; ) {
    size = family.size
    for (const one of all) if (one !== undefined && family.has(one.parent)) family.add(one.pid)
  }
  const members = all.filter((one) => one !== undefined).filter(({ pid }) => family.has(pid))
  const resident = await Promise.all(members.map(({ pid }) => residentMegabytes(pid, 'VmHWM')))
  return {
    cpuSeconds: members.reduce((sum, { cpuTicks }) => sum + cpuTicks, 0) / ticksPerSecond,
    rssMegabytes: resident.reduce((sum, one) => sum + one, 0),
  }
}

async function statOf(pid: string) {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8')
    // The name stands in brackets, and may hold anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { pid: Number(pid), parent: Number(fields[1]), cpuTicks: Number(fields[11]) + Number(fields[12]) }
  } catch {
    return undefined // ended meanwhile
  }
}

/** The parent's side of a benchmark process: one role in a process of its own, asked over Node's own channel. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { NoticeMessage, ReplyMessage, RequestMessage, Usage } from './child.ts'

interface Waiting {
  resolve(result: unknown): void
  reject(error: Error): void
}

/** A process whose use is measured. */
export interface Measured {
  /** Begins what `usage` tells of. */
  windowBegin(): Promise<unknown>
  usage(): Promise<Usage>
}

export interface BenchProcessOptions {
  /** Writes a CPU profile of the process into this directory. */
  readonly profileDirectory?: string | undefined
  /** More flags for Node. */
  readonly nodeFlags?: readonly string[]
}

const compileCache = fileURLToPath(new URL('../../node_modules/.cache/compiled', import.meta.url))

export class BenchProcess implements Measured, AsyncDisposable {
  readonly role: string
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1
  /** Told of what the role says unasked. */
  onNotice: (notice: string, value: number) => void = () => {}

  /** @param role the role's file in `bench/roles`, without its ending */
  constructor(role: string, { profileDirectory, nodeFlags = [] }: BenchProcessOptions = {}) {
    this.role = role
    const profiling =
      profileDirectory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDirectory}`]
    this.#child = fork(new URL(`../roles/${role}.ts`, import.meta.url), [], {
      execArgv: [...process.execArgv, ...profiling, ...nodeFlags],
      // Most of the time of a start is compiling.
      env: { NODE_COMPILE_CACHE: compileCache, ...process.env },
      // Standard output is the report's alone.
      stdio: ['ignore', 2, 2, 'ipc'],
    })
    this.#child.on('message', (message: ReplyMessage | NoticeMessage) => {
      if ('notice' in message) this.onNotice(message.notice, message.value)
      else this.#reply(message)
    })
    this.#child.on('exit', (code, signal) => {
      const error = new Error(`the ${role} process ended early (${signal ?? `code ${code}`})`)
      for (const waiting of this.#waiting.values()) waiting.reject(error)
      this.#waiting.clear()
    })
  }

  /** Asks the role, and resolves to its answer. @throws what the role threw, or when it ended */
  ask(op: string, argument?: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, op, argument } satisfies RequestMessage, (error) => {
        if (error !== null && this.#waiting.delete(id)) reject(error)
      })
    })
  }

  windowBegin(): Promise<unknown> {
    return this.ask('windowBegin')
  }

  /** What the process used since it was asked `windowBegin`. */
  async usage(): Promise<Usage> {
    return (await this.ask('windowEnd')) as Usage
  }

  /** Ends the process with SIGKILL, as a crash would. */
  async kill(): Promise<void> {
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }

  /** Lets the process go, and resolves when it has ended: profiles are written then. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    if (this.#child.connected) this.#child.disconnect()
    await ended
  }

  #reply({ id, result, error }: ReplyMessage): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(`the ${this.role} process failed: ${error}`))
  }
}

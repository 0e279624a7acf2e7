/** A server on a data directory that is started again and again: after a kill, or after a clean stop. */
import type { ServerSetup, ServerStarted } from '../roles/server.ts'
import { BenchProcess } from './process.ts'

export interface Started extends ServerStarted {
  /** From the start of the process until it answered that it is usable. */
  readonly processMs: number
}

export class RestartableServer implements AsyncDisposable {
  readonly #setup: ServerSetup
  #process: BenchProcess | undefined

  constructor(setup: ServerSetup) {
    this.#setup = setup
  }

  async start(): Promise<Started> {
    const beginMs = performance.now()
    this.#process = new BenchProcess('server')
    const started = (await this.ask('start', this.#setup)) as ServerStarted
    return { ...started, processMs: performance.now() - beginMs }
  }

  ask(op: string, argument?: unknown): Promise<unknown> {
    if (this.#process === undefined) throw new Error('the server is not started')
    return this.#process.ask(op, argument)
  }

  async kill(): Promise<void> {
    await this.#process?.kill()
    this.#process = undefined
  }

  async stop(): Promise<void> {
    await this.ask('stop')
    await this[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]()
    this.#process = undefined
  }
}

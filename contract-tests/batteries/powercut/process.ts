/** The writer of the power-cut battery as its parent sees it: what it said, and when. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { PublishReceipt } from 'ratatoskr/ports'
import { cleanEnvironment } from '../harness/server-process.ts'
import type { StateOperation } from '../harness/state-ledger.ts'
import type { Level, WriterEvent } from './protocol.ts'

export interface Acknowledgement {
  readonly level: Level
  readonly producer: string
  readonly sequence: number
  readonly receipt: PublishReceipt
  /** When, by the clock of the machine. */
  readonly atMs: number
}

export interface StateChange {
  readonly operation: StateOperation
  readonly begunMs: number
  /** When it was acknowledged; undefined while it was not. */
  doneMs: number | undefined
}

/** What a writer has said up to some moment. */
export interface Told {
  readonly acked: readonly Acknowledgement[]
  readonly changes: readonly StateChange[]
  /** How many messages each producer has tried to publish. */
  readonly attempted: Readonly<Record<string, number>>
  /** The longest that its event loop, or a durable publish, took within the last second. */
  readonly lateMs: number
}

type Status = Extract<WriterEvent, { is: 'status' }>

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

export class Writer implements AsyncDisposable {
  readonly #acked: Acknowledgement[] = []
  readonly #changes: StateChange[] = []
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>
  readonly #ready = Promise.withResolvers<void>()
  readonly #asked: ((status: Status) => void)[] = []
  #errors = ''
  #refused: string | undefined

  private constructor(directory: string, seed: number, plantedBug: string | undefined) {
    const planted: Record<string, string> = plantedBug === undefined ? {} : { RATATOSKR_PLANTED: plantedBug }
    const preload = plantedBug === undefined ? [] : ['--import', here('../harness/plant.ts')]
    this.#child = spawn(
      process.execPath,
      ['--conditions=source', ...preload, here('writer.ts'), directory, `${seed}`],
      { env: cleanEnvironment(planted), stdio: ['pipe', 'pipe', 'pipe'] },
    )
    const { stdin, stdout, stderr } = this.#child
    if (stdin === null || stdout === null || stderr === null) throw new Error('the writer has no pipes')
    stdin.on('error', () => undefined)
    stderr.on('data', (bytes) => {
      this.#errors += bytes
    })
    createInterface({ input: stdout }).on('line', (line) => this.#on(JSON.parse(line)))
    this.#exited = once(this.#child, 'close').then(() =>
      this.#ready.reject(new Error(`the writer ended: ${this.#errors}`)),
    )
  }

  /** Starts one on a directory, and waits until it writes. */
  static async start(directory: string, seed: number, plantedBug: string | undefined): Promise<Writer> {
    const writer = new Writer(directory, seed, plantedBug)
    await writer.#ready.promise
    return writer
  }

  /** All that it said before now. */
  async told(): Promise<Told> {
    const answer = new Promise<Status>((resolve) => this.#asked.push(resolve))
    this.#child.stdin?.write('\n')
    const status = await Promise.race([answer, this.#exited.then(() => undefined)])
    if (this.#refused !== undefined) throw new Error(`the writer was refused with ${this.#refused}`)
    if (status === undefined) throw new Error(`the writer ended by itself: ${this.#errors}`)
    const changes = this.#changes.map((change) => ({ ...change }))
    return { acked: [...this.#acked], changes, attempted: status.attempted, lateMs: status.lateMs }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  #on(event: WriterEvent): void {
    switch (event.is) {
      case 'ready':
        this.#ready.resolve()
        return
      case 'acked':
        this.#acked.push(event)
        return
      case 'refused':
        // Nothing is broken here but the power: the disk takes everything.
        this.#ready.reject(new Error(`the writer was refused with ${event.code}`))
        this.#refused ??= event.code
        return
      case 'changing':
        this.#changes.push({ operation: event.operation, begunMs: event.atMs, doneMs: undefined })
        return
      case 'changed': {
        const last = this.#changes.at(-1)
        if (last !== undefined) last.doneMs = event.atMs
        return
      }
      case 'status':
        this.#asked.shift()?.(event)
        return
    }
  }
}

/** The workers of a broker in this very event loop, joined by real ports: what crosses them is cloned as between threads. */
import { MessageChannel } from 'node:worker_threads'
import type { WorkerThread, WorkerThreads } from '../../application/index.ts'
import { portChannel } from '../../cli/workers/port-channel.ts'
import type { Transport } from '../../ports/index.ts'
import type { BrokerOptions } from '../broker-options.ts'
import { createWorker } from '../create-worker.ts'

type RunningWorker = ReturnType<typeof createWorker>

export class ThreadsHere implements WorkerThreads {
  readonly count: number
  /** Those that run, by their index. */
  readonly workers = new Map<number, RunningWorker>()
  /** How often each was started. */
  readonly starts: number[] = []
  readonly #optionsOf: (index: number) => BrokerOptions
  readonly #transportOf: (index: number, ports: readonly number[]) => Transport
  readonly #stuck = new Set<number>()
  readonly #ends = new Map<number, (error?: unknown) => void>()

  constructor(
    count: number,
    optionsOf: (index: number) => BrokerOptions,
    transportOf: (index: number, ports: readonly number[]) => Transport,
  ) {
    this.count = count
    this.#optionsOf = optionsOf
    this.#transportOf = transportOf
  }

  async spawn(index: number): Promise<WorkerThread> {
    this.starts[index] = (this.starts[index] ?? 0) + 1
    const worker = createWorker(this.#optionsOf(index), {
      index,
      count: this.count,
      transports: async (ports) => [this.#transportOf(index, ports)],
    })
    await worker.start()
    const { port1, port2 } = new MessageChannel()
    const channel = portChannel(port2)
    worker.connect(0, {
      ...channel,
      open: (take, closed) => channel.open((message) => this.#stuck.has(index) || take(message), closed),
    })
    this.workers.set(index, worker)
    const ended = Promise.withResolvers<unknown>()
    const end = (error?: unknown): void => {
      this.workers.delete(index)
      port1.close()
      ended.resolve(error)
    }
    this.#ends.set(index, end)
    return {
      channel: portChannel(port1),
      ended: ended.promise,
      stop: () => void worker.stop().then(() => end()),
      terminate: async () => this.kill(index),
    }
  }

  connect(one: number, other: number): void {
    const { port1, port2 } = new MessageChannel()
    this.workers.get(one)?.connect(other, portChannel(port1))
    this.workers.get(other)?.connect(one, portChannel(port2))
  }

  /** Has a worker hear nothing more of the controller, as if its event loop were held up. */
  stick(index: number): void {
    this.#stuck.add(index)
  }

  /** Ends a worker as a crash does, as far as others can tell: its ports close, with whatever was under way. */
  async kill(index: number, error: unknown = new Error('killed')): Promise<void> {
    const worker = this.workers.get(index)
    if (worker === undefined) return
    this.#stuck.delete(index)
    worker.cut()
    await worker.stop()
    this.#ends.get(index)?.(error)
  }
}

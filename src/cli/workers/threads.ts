/** Runs the workers of a broker as threads of this process. */
import { extname } from 'node:path'
import { MessageChannel, Worker } from 'node:worker_threads'
import type { WorkerThread, WorkerThreads } from '../../application/index.ts'
import { type ErrorCode, RatatoskrError } from '../../ports/index.ts'
import type { CompleteConfig } from '../config/schema.ts'
import { portChannel } from './port-channel.ts'
import type { WorkerOrder, WorkerReport, WorkerStart } from './thread-messages.ts'

export interface ThreadsOptions {
  readonly config: CompleteConfig
  /** The configuration file, when one was named: what it has of plugins is made anew in each worker. */
  readonly configFile: string | undefined
  /** Called before the first worker starts; the storage of the controller is open by then. */
  prepare(): Promise<void>
}

/** This very file's kind, since the sources run as well as what is built of them. */
const workerFile = new URL(`./worker-main${extname(import.meta.url)}`, import.meta.url)

export function workerThreads({ config, configFile, prepare }: ThreadsOptions): WorkerThreads {
  const count = config.workers
  const running = new Map<number, Worker>()
  let prepared: Promise<void> | undefined
  return {
    count,
    async spawn(index) {
      prepared ??= prepare()
      await prepared
      const { port1, port2 } = new MessageChannel()
      const { plugins, ...plain } = config
      const start: WorkerStart = {
        index,
        count,
        config: plain,
        ownPlugins: plugins.length > 0,
        configFile,
        port: port2,
      }
      const worker = new Worker(workerFile, {
        workerData: start,
        transferList: [port2],
        name: `worker ${index}`,
      })
      const ended = endOf(worker, () => {
        if (running.get(index) === worker) running.delete(index)
        port1.close()
      })
      await started(worker, ended)
      running.set(index, worker)
      return threadOf(worker, portChannel(port1), ended)
    },
    connect(one, other) {
      const [first, second] = [running.get(one), running.get(other)]
      if (first === undefined || second === undefined) return
      const { port1, port2 } = new MessageChannel()
      first.postMessage({ kind: 'connect', index: other, port: port1 } satisfies WorkerOrder, [port1])
      second.postMessage({ kind: 'connect', index: one, port: port2 } satisfies WorkerOrder, [port2])
    },
  }
}

/** Settles when the thread has ended, to what it threw. An error of a thread must never reach the process. */
function endOf(worker: Worker, tidy: () => void): Promise<unknown> {
  return new Promise((resolve) => {
    let thrown: unknown
    worker.on('error', (error) => {
      thrown = error
    })
    worker.once('exit', () => {
      tidy()
      resolve(thrown)
    })
  })
}

/** @throws why the worker did not start */
function started(worker: Worker, ended: Promise<unknown>): Promise<void> {
  return new Promise((resolve, reject) => {
    worker.once('message', (report: WorkerReport) => {
      if (report.kind === 'ready') resolve()
      else {
        reject(new RatatoskrError(report.code as ErrorCode, report.message))
        void worker.terminate()
      }
    })
    void ended.then((cause) => {
      reject(new RatatoskrError('RTK_UNAVAILABLE', 'a worker ended while it started', { cause }))
    })
  })
}

const threadOf = (
  worker: Worker,
  channel: WorkerThread['channel'],
  ended: Promise<unknown>,
): WorkerThread => ({
  channel,
  ended,
  stop: () => worker.postMessage({ kind: 'stop' } satisfies WorkerOrder),
  terminate: async () => {
    await worker.terminate()
  },
})

/** A worker thread of `ratatoskr serve --workers N`: runs until it is told to stop, or until something ends it. */
import { parentPort, workerData } from 'node:worker_threads'
import { createWorker } from '../../composition/create-worker.ts'
import { toRatatoskrError } from '../../ports/index.ts'
import { pluginsOfConfigFile, sharedTransportsOf, workerOptionsOf } from '../broker-of-config.ts'
import { portChannel } from './port-channel.ts'
import type { WorkerOrder, WorkerReport, WorkerStart } from './thread-messages.ts'

const { index, count, config, ownPlugins, configFile, port } = workerData as WorkerStart
const report = (message: WorkerReport): void => parentPort?.postMessage(message)

try {
  const plugins = ownPlugins ? await pluginsOfConfigFile(configFile) : []
  const complete = { ...config, plugins }
  const worker = createWorker(await workerOptionsOf(complete, index), {
    index,
    count,
    transports: (ports) => sharedTransportsOf(complete, ports),
  })
  await worker.start()
  worker.connect(0, portChannel(port))
  parentPort?.on('message', (order: WorkerOrder) => {
    if (order.kind === 'connect') worker.connect(order.index, portChannel(order.port))
    else void worker.stop().finally(() => process.exit())
  })
  report({ kind: 'ready' })
} catch (error) {
  const { code, message } = toRatatoskrError(error)
  report({ kind: 'failed', code, message })
}

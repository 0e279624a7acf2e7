/** The application ring as composition sees it. */
export { Broker } from './broker.ts'
export type { MeshChannel, MeshMessage } from './workers/mesh-channel.ts'
export { WorkerBroker } from './workers/worker-broker.ts'
export type { WorkerThread, WorkerThreads } from './workers/worker-threads.ts'

/** Assembles one worker of a broker that is more than one event loop. */
import type { WorkerBroker } from '../application/index.ts'
import type { BrokerOptions } from './broker-options.ts'
import { tokens, type WorkerPlace, workerPartsOf } from './container.ts'

/** @throws as `createBroker` */
export const createWorker = (options: BrokerOptions, place: WorkerPlace): WorkerBroker =>
  workerPartsOf(options, place).get(tokens.worker)

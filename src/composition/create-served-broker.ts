/** Options in, a broker for a server out. */
import type { WorkerThreads } from '../application/index.ts'
import type { BrokerOptions } from './broker-options.ts'
import { partsOf, tokens } from './container.ts'
import { type BrokerParts, ServedBroker } from './served-broker.ts'

/** Assembles a broker that its transports alone ask. @param threads runs its other workers @throws as `createBroker` */
export const createServedBroker = (options: BrokerOptions, threads?: WorkerThreads): ServedBroker =>
  new ServedBroker(brokerPartsOf(options, threads))

/** What every broker is made of. @throws as `createBroker` */
export function brokerPartsOf(options: BrokerOptions, threads?: WorkerThreads): BrokerParts {
  if (typeof options?.storage?.open !== 'function') {
    throw new TypeError('createBroker needs a storage, such as memoryStorage() or diskStorage({ directory })')
  }
  const parts = partsOf(options, threads)
  return {
    broker: parts.get(tokens.broker),
    plugins: parts.get(tokens.plugins),
    transports: parts.get(tokens.transports),
    platform: parts.get(tokens.platform),
  }
}

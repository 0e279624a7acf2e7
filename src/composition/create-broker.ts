/** Options in, broker out. */
import type { WorkerThreads } from '../application/index.ts'
import type { BrokerOptions } from './broker-options.ts'
import { partsOf, tokens } from './container.ts'
import { EmbeddedBroker } from './embedded-broker.ts'

/**
 * Assembles a broker; `start` starts it.
 * @throws TypeError without a storage; RTK_CONFIG_INVALID, RTK_CONFIG_UNKNOWN_KEY, RTK_INVALID_ARGUMENT when a limit or
 *   a topic default is wrong; RTK_DURABILITY_UNAVAILABLE when the storage cannot give the default durability;
 *   RTK_PLUGIN_INVALID
 */
export const createBroker = (options: BrokerOptions): Promise<EmbeddedBroker> => brokerWith(options)

/** The same, with more workers than this event loop. @param threads runs them */
export async function brokerWith(options: BrokerOptions, threads?: WorkerThreads): Promise<EmbeddedBroker> {
  if (typeof options?.storage?.open !== 'function') {
    throw new TypeError('createBroker needs a storage, such as memoryStorage() or diskStorage({ directory })')
  }
  const parts = partsOf(options, threads)
  return new EmbeddedBroker({
    broker: parts.get(tokens.broker),
    plugins: parts.get(tokens.plugins),
    transports: parts.get(tokens.transports),
    platform: parts.get(tokens.platform),
  })
}

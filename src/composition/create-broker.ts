/** Options in, broker out. */
import type { WorkerThreads } from '../application/index.ts'
import type { BrokerOptions } from './broker-options.ts'
import { brokerPartsOf } from './create-served-broker.ts'
import { EmbeddedBroker } from './embedded-broker.ts'

/**
 * Assembles a broker; `start` starts it.
 * @throws TypeError without a storage; RTK_CONFIG_INVALID, RTK_CONFIG_UNKNOWN_KEY, RTK_INVALID_ARGUMENT when a limit or
 *   a topic default is wrong; RTK_DURABILITY_UNAVAILABLE when the storage cannot give the default durability;
 *   RTK_PLUGIN_INVALID
 */
export const createBroker = (options: BrokerOptions): Promise<EmbeddedBroker> => brokerWith(options)

/** The same, with more workers than this event loop. @param threads runs them */
export const brokerWith = async (options: BrokerOptions, threads?: WorkerThreads): Promise<EmbeddedBroker> =>
  new EmbeddedBroker(brokerPartsOf(options, threads))

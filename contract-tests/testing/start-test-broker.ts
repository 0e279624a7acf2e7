/** A broker for one test: in memory, silent, stopped at the end of its scope. */
import { type BrokerOptions, createBroker, type EmbeddedBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { silentLogger } from 'ratatoskr/adapters/node'

/**
 * Starts a broker in memory that logs nothing: `await using broker = await startTestBroker()`.
 * @param options what is to be otherwise; transports belong on port 0
 */
export async function startTestBroker(options: Partial<BrokerOptions> = {}): Promise<EmbeddedBroker> {
  const broker = await createBroker({
    ...options,
    // A busy machine is no overload of the broker.
    limits: { loopDelayMsMax: 60_000, ...options.limits },
    storage: options.storage ?? memoryStorage(),
    platform: { logger: silentLogger, ...options.platform },
  })
  try {
    await broker.start()
  } catch (error) {
    await broker.stop()
    throw error
  }
  return broker
}

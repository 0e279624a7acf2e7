/** `ratatoskr serve`: runs a broker until SIGTERM or SIGINT, then drains and exits 0. */
import { brokerOfConfig } from '../broker-of-config.ts'
import { type ConfigFlags, loadConfigOf } from '../config/flags.ts'
import { exitCodes } from '../exit-codes.ts'

export async function serve(flags: ConfigFlags): Promise<void> {
  const { config } = await loadConfigOf(flags)
  const broker = await brokerOfConfig(config)
  const { logger } = broker.platform
  const stopped = new Promise<void>((resolve, reject) => {
    let asked = 0
    const stop = (signal: string) => {
      asked++
      // Who asks twice does not want to wait for the drain.
      if (asked > 1) process.exit(exitCodes.failure)
      logger.info('stopping', { signal })
      broker.drain()
      setTimeout(() => broker.stop().then(resolve, reject), config.shutdown.drainMs)
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
  const begunMs = performance.now()
  await broker.start()
  logger.info('ready', {
    storage: config.storage.kind,
    // Recovery included; what Node needs before the first line of ours runs is not.
    startMs: Math.round(performance.now() - begunMs),
    addresses: broker.addresses.map(({ url }) => url),
  })
  await stopped
  logger.info('stopped')
  process.exit(exitCodes.ok)
}

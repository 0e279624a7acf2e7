/**
 * `ratatoskr serve`: runs a broker until SIGTERM or SIGINT, then drains and exits 0. Whatever hangs, the start as well as
 * the stop, the process is gone when the time for stopping has passed.
 */
import type { Logger } from '../../ports/index.ts'
import { dropCompiledModules } from '../compile-cache.ts'
import type { ConfigFlags } from '../config/flags.ts'
import { exitCodes } from '../exit-codes.ts'
import { optimizeFromNowOn } from '../late-optimizing.ts'

/** Signals that come so close to the first are the same one, sent to a group of processes and handed on by one of them. */
const sameAskMs = 500
/** A start that takes longer has much to recover, and optimized code for it. */
const quickStartMs = 200
/** For the last steps of a stop that has used all of its time. */
const stopGraceMs = 500

export async function serve(flags: ConfigFlags): Promise<void> {
  const { collectOnceIdle, keepHeapSmall, keepHeapSmallWhileIdle, paceCollector } = await import(
    'ratatoskr/adapters/node'
  )
  paceCollector()
  const starting = keepHeapSmall() // and only now whatever else is needed is loaded
  const { config } = await (await import('../config/flags.ts')).loadConfigOf(flags)
  dropCompiledModules()
  const { brokerOfConfig } = await import('../broker-of-config.ts')
  dropCompiledModules()
  const broker = await brokerOfConfig(config, flags.config)
  dropCompiledModules()
  const { logger } = broker.platform
  let started = false
  const stopped = new Promise<void>((resolve, reject) => {
    let askedMs: number | undefined
    const stop = (signal: string) => {
      if (askedMs !== undefined) {
        // Who asks twice does not want to wait for the drain. npm hands on what the terminal has sent to both of them.
        if (performance.now() - askedMs > sameAskMs) endNow()
        return
      }
      askedMs = performance.now()
      logger.info('stopping', { signal })
      // Nobody has been told of a broker that is still starting.
      const drainMs = started ? config.shutdown.drainMs : 0
      const timer = endAfter(drainMs + broker.facade.limits.stopTimeoutMs, logger)
      broker.drain()
      setTimeout(() => {
        broker.stop().then(() => {
          clearTimeout(timer)
          resolve()
        }, reject)
      }, drainMs)
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
  const begunMs = performance.now()
  const slowStart = setTimeout(optimizeFromNowOn, quickStartMs)
  await broker.start()
  clearTimeout(slowStart)
  optimizeFromNowOn()
  started = true
  starting[Symbol.dispose]()
  if (config.workers === 1) keepHeapSmallWhileIdle()
  collectOnceIdle()
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

/** Stopping keeps its own deadline; what outlasts this one does not end by itself. */
function endAfter(stopMs: number, logger: Logger): NodeJS.Timeout {
  const waitedMs = stopMs + stopGraceMs
  return setTimeout(() => {
    logger.error('not stopped in time: something hangs, perhaps the disk; the process ends as if killed', {
      waitedMs,
    })
    endNow()
  }, waitedMs)
}

/** Ends this process for certain: `process.exit` waits for threads that are stuck in a call of the system. */
function endNow(): void {
  process.kill(process.pid, 'SIGKILL')
}

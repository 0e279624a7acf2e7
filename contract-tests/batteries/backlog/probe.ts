/**
 * Loaded into the broker's process before it starts: at each SIGUSR2 it collects garbage and tells on stderr how much memory
 * there is and how late the event loop was since the last time.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'

const delay = monitorEventLoopDelay({ resolution: 5 })
delay.enable()

process.on('SIGUSR2', () => {
  const loopP99Ms = delay.percentile(99) / 1e6
  const loopMaxMs = delay.max / 1e6
  globalThis.gc?.()
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage()
  process.stderr.write(
    `${JSON.stringify({ backlogProbe: { rss, heapUsed, arrayBuffers, loopP99Ms, loopMaxMs } })}\n`,
  )
  delay.reset()
})

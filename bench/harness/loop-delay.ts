/** How late the event loop is: what a timer of one millisecond sees. */
import { monitorEventLoopDelay } from 'node:perf_hooks'

export interface LoopDelay {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

const resolutionMs = 1

/** Watches from now on. `turn` tells of the time since the turn before, and begins anew. */
export function delayWatch(): { turn(): LoopDelay } {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs })
  histogram.enable()
  const ms = (nanoseconds: number): number => nanoseconds / 1e6
  return {
    turn() {
      const delay = {
        p50Ms: ms(histogram.percentile(50)),
        p99Ms: ms(histogram.percentile(99)),
        maxMs: ms(histogram.max),
      }
      histogram.reset()
      return delay
    },
  }
}

/** The system's clock as a port. */
import type { Clock } from 'ratatoskr/ports'

const timeoutMsMax = 2 ** 31 - 1 // setTimeout runs at once above it

// The name itself stands for a getter, which would be asked for each reading.
const monotonicClock = globalThis.performance

/**
 * The system's clock. Its timers keep the process alive, for whoever waits on one wants to be woken: an unreferenced
 * timer under an awaited retry would end the process in the middle of it. Components dispose of theirs when they stop.
 */
export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => monotonicClock.now(),
  after(delayMs: number, run: () => void): Disposable {
    if (Number.isNaN(delayMs)) throw new TypeError('delayMs must be a number, got NaN')
    if (delayMs <= 0) return inNextTurn(run)
    const dueMs = performance.now() + Math.max(0, delayMs)
    let timeout: NodeJS.Timeout
    // Node may fire a fraction of a millisecond early and cannot wait for more than 24.8 days: both times, wait for the rest.
    const wait = (restMs: number): void => {
      timeout = setTimeout(
        () => {
          const leftMs = dueMs - performance.now()
          if (leftMs > 0) wait(leftMs)
          else run()
        },
        Math.min(Math.ceil(restMs), timeoutMsMax),
      )
    }
    wait(Math.max(0, delayMs))
    return { [Symbol.dispose]: () => clearTimeout(timeout) }
  },
})

/** A timer would take a millisecond at least. What is ready of sockets has its turn before, and so have timers that are due. */
function inNextTurn(run: () => void): Disposable {
  const immediate = setImmediate(run)
  return { [Symbol.dispose]: () => clearImmediate(immediate) }
}

/**
 * Loaded into a broker's process before it starts: watches how much processor time each turn of its event loop takes. At SIGUSR2
 * it tells on stderr of the longest since the last time.
 *
 * A timer that is always due comes once a turn, and what its thread has worked since it came before was in that turn. It is the
 * thread's own processor time and not the clock's: that a machine with other work on it lets the thread wait is no block of ours.
 */

/** What is told. */
export interface TurnReport {
  /** Processor time of the longest turn. */
  readonly longestCpuMs: number
  /** By the clock, in the same turn. */
  readonly longestWallMs: number
  readonly turns: number
}

let [longestCpuMs, longestWallMs, turns] = [0, 0, 0]
let before = process.threadCpuUsage()
let beforeMs = performance.now()

const watch = (): void => {
  const { user, system } = process.threadCpuUsage(before)
  const cpuMs = (user + system) / 1_000
  const nowMs = performance.now()
  if (cpuMs > longestCpuMs) [longestCpuMs, longestWallMs] = [cpuMs, nowMs - beforeMs]
  turns++
  before = process.threadCpuUsage()
  beforeMs = nowMs
  setTimeout(watch, 1).unref()
}
watch()

process.on('SIGUSR2', () => {
  // A look first: a block that has just ended belongs to what was before.
  setTimeout(() => {
    const turnReport: TurnReport = { longestCpuMs, longestWallMs, turns }
    process.stderr.write(`${JSON.stringify({ turnReport })}\n`)
    ;[longestCpuMs, longestWallMs, turns] = [0, 0, 0]
  }, 5)
})

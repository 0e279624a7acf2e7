/**
 * Preloaded (`node --import`) by a server whose wall clock is to jump: every 30 ms it is up to an hour off, in either
 * direction. Monotonic time and timers go on as they do.
 */
const jumpMsMax = 3_600_000
let offsetMs = 0
const SystemDate = Date

class JumpingDate extends SystemDate {
  constructor(...args: [] | [number]) {
    super(...(args.length === 0 ? ([SystemDate.now() + offsetMs] as const) : args))
  }

  static override now(): number {
    return SystemDate.now() + offsetMs
  }
}
globalThis.Date = JumpingDate as DateConstructor

setInterval(() => {
  offsetMs = Math.round((Math.random() * 2 - 1) * jumpMsMax)
}, 30).unref()

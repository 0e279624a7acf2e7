/** The platform port on what a browser has. No codecs: a link asks the broker for expanded batches when there are none. */
import {
  type Clock,
  formatUuid,
  type LogFields,
  type Logger,
  type Platform,
  portableCrc32c,
} from '../ports/index.ts'

// What this file uses of the web platform, so that it needs neither Node's nor the DOM's types.
interface Web {
  readonly performance: { now(): number }
  readonly crypto: { getRandomValues(bytes: Uint8Array): Uint8Array }
  readonly console: Record<'debug' | 'info' | 'warn' | 'error', (...parts: unknown[]) => void>
  readonly MessageChannel?: new () => { readonly port1: Port; readonly port2: Port }
  setTimeout(run: () => void, delayMs: number): unknown
  clearTimeout(timer: unknown): void
}

interface Port {
  onmessage: (() => void) | null
  postMessage(message: null): void
  close(): void
}

const web = globalThis as unknown as Web
// The most that getRandomValues gives at a time.
const randomBytesMax = 65_536

const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => web.performance.now(),
  after(delayMs, run) {
    if (delayMs <= 0 && web.MessageChannel !== undefined) return inNextTurn(new web.MessageChannel(), run)
    const timer = web.setTimeout(run, delayMs)
    return { [Symbol.dispose]: () => web.clearTimeout(timer) }
  },
}

/** Browsers make nested timers wait for 4 ms; a message comes at once, but not before what is due already. */
function inNextTurn({ port1, port2 }: { port1: Port; port2: Port }, run: () => void): Disposable {
  const forget = (): void => {
    port1.onmessage = null
    port1.close()
  }
  port1.onmessage = () => {
    forget()
    run()
  }
  port2.postMessage(null)
  return { [Symbol.dispose]: forget }
}

const random = {
  fill(bytes: Uint8Array): Uint8Array {
    for (let at = 0; at < bytes.length; at += randomBytesMax) {
      web.crypto.getRandomValues(bytes.subarray(at, at + randomBytesMax))
    }
    return bytes
  },
  uuid(): string {
    const bytes = this.fill(new Uint8Array(16))
    bytes[6] = (bytes[6] & 0x0f) | 0x40
    bytes[8] = (bytes[8] & 0x3f) | 0x80
    return formatUuid(bytes)
  },
  next: () => Math.random(),
}

/** Writes warnings and errors to the console. */
function consoleLogger(fields: LogFields): Logger {
  return {
    debug() {},
    info() {},
    warn: (message, more) => web.console.warn(message, { ...fields, ...more }),
    error: (message, more) => web.console.error(message, { ...fields, ...more }),
    child: (more) => consoleLogger({ ...fields, ...more }),
  }
}

/** The platform of a browser page or worker. */
export const browserPlatform = (): Platform => ({
  clock,
  random,
  checksum: portableCrc32c,
  compression: new Map(),
  logger: consoleLogger({}),
})

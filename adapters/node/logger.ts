/**
 * The log on stderr: one JSON object a line for machines, one readable line for a terminal.
 *
 * Logging never throws and never changes what the caller passed: a log line must not be what breaks a broker.
 */
import { type ErrorDetails, isRatatoskrError, type LogFields, type Logger } from 'ratatoskr/ports'

/** From all lines to none. */
export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
/** The least that a line must be to be written. */
export type LogLevel = (typeof logLevels)[number]

/** Which lines are written, how, and where to. */
export interface JsonLoggerOptions {
  /** Lines below it are left out. */
  readonly level?: LogLevel | undefined
  /** Takes one line, with its line feed; stderr by default. */
  readonly write?: ((line: string) => void) | undefined
  /** `json`, or `text` for people; by default `text` when stderr is a terminal. */
  readonly format?: 'json' | 'text' | undefined
  /** Unix milliseconds for the line's time; the system's clock by default. */
  readonly now?: (() => number) | undefined
}

/** A logger whose level can be changed while it runs; its children follow. */
export interface LeveledLogger extends Logger {
  level: LogLevel
}

/** Makes a logger. */
export function jsonLogger(options: JsonLoggerOptions = {}): LeveledLogger {
  const format = options.format ?? (process.stderr.isTTY ? 'text' : 'json')
  return new LineLogger(
    {
      level: options.level ?? 'info',
      write: options.write ?? writeToStderr,
      format: format === 'json' ? jsonLine : textLine,
      now: options.now ?? Date.now,
    },
    {},
  )
}

/** A logger that says nothing. */
export const silentLogger: Logger = Object.freeze({
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
})

interface Line {
  readonly time: string
  readonly level: LogLevel
  readonly message: string
  readonly fields: LogFields
}

interface Output {
  level: LogLevel
  readonly write: (line: string) => void
  readonly format: (line: Line) => string
  readonly now: () => number
}

class LineLogger implements LeveledLogger {
  readonly #output: Output
  readonly #fields: LogFields

  constructor(output: Output, fields: LogFields) {
    this.#output = output
    this.#fields = fields
  }

  get level(): LogLevel {
    return this.#output.level
  }

  set level(level: LogLevel) {
    this.#output.level = level
  }

  debug(message: string, fields?: LogFields): void {
    this.#log('debug', message, fields)
  }

  info(message: string, fields?: LogFields): void {
    this.#log('info', message, fields)
  }

  warn(message: string, fields?: LogFields): void {
    this.#log('warn', message, fields)
  }

  error(message: string, fields?: LogFields): void {
    this.#log('error', message, fields)
  }

  child(fields: LogFields): Logger {
    return new LineLogger(this.#output, { ...this.#fields, ...fields })
  }

  #log(level: LogLevel, message: string, fields: LogFields | undefined): void {
    const { level: least, format, write, now } = this.#output
    if (logLevels.indexOf(level) < logLevels.indexOf(least)) return
    try {
      const time = new Date(now()).toISOString()
      write(format({ time, level, message, fields: plainFields({ ...this.#fields, ...fields }) }))
    } catch {
      // Nobody is left to tell.
    }
  }
}

/** The line's own names come first, and no field can take their place. */
const jsonLine = ({ fields, ...own }: Line): string =>
  `${JSON.stringify(Object.assign({ ...own }, fields, own))}\n`

function textLine({ time, level, message, fields }: Line): string {
  let line = `${time} ${level.toUpperCase().padEnd(5)} ${message}`
  for (const [name, value] of Object.entries(fields)) line += ` ${bareOrQuoted(name)}=${bareOrQuoted(value)}`
  return `${line}\n`
}

/** As it is when it reads as one word; quoted and escaped otherwise, so that no value can look like another line. */
const bareOrQuoted = (value: unknown): string =>
  typeof value === 'string' && /^[\w.:/@+-]+$/.test(value) ? value : JSON.stringify(value)

/** Fields as JSON can hold them. One that cannot be read becomes a note of that, and the others stay. */
function plainFields(fields: LogFields): LogFields {
  const plain: [string, unknown][] = []
  for (const name of Object.keys(fields)) {
    try {
      const value = plainValue(fields[name], 0)
      if (value !== undefined) plain.push([name, value])
    } catch {
      plain.push([name, '[unreadable]'])
    }
  }
  return Object.fromEntries(plain)
}

const depthMax = 4
const entriesMax = 100

function plainValue(value: unknown, depth: number): unknown {
  if (typeof value === 'bigint' || typeof value === 'symbol') return String(value)
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
  if (typeof value === 'function') return '[function]'
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return `[${value.length} bytes]`
  if (depth >= depthMax) return '[too deep]'
  if (value instanceof Error) return plainError(value, depth)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
  if (Array.isArray(value)) return value.slice(0, entriesMax).map((entry) => plainValue(entry, depth + 1))
  const entries = Object.entries(value).slice(0, entriesMax)
  return Object.fromEntries(entries.map(([name, entry]) => [name, plainValue(entry, depth + 1)]))
}

interface PlainError {
  readonly code?: unknown
  readonly message: string
  readonly details?: ErrorDetails
  readonly cause?: unknown
  readonly stack?: string | undefined
}

/** A coded error speaks for itself; only of foreign ones is the stack worth its lines. */
function plainError(error: Error, depth: number): PlainError {
  const known = isRatatoskrError(error)
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  return {
    code: code ?? error.name,
    message: error.message,
    ...(known && Object.keys(error.details).length > 0 ? { details: error.details } : {}),
    ...(error.cause === undefined ? {} : { cause: plainValue(error.cause, depth + 1) }),
    ...(known ? {} : { stack: error.stack }),
  }
}

let stderrIsGuarded = false

function writeToStderr(line: string): void {
  if (!stderrIsGuarded) {
    // A reader that went away must not end the broker: without a listener, EPIPE would be an uncaught exception.
    process.stderr.on('error', () => {})
    stderrIsGuarded = true
  }
  process.stderr.write(line)
}

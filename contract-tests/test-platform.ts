/** A platform for tests: a manual clock, a log that can be read, and randomness that repeats. */
import { formatUuid, type LogFields, type Logger, type Platform, type Random } from 'ratatoskr/ports'
import { crc32c } from './batches.ts'
import { ManualClock } from './manual-clock.ts'
import { seededDraw } from './seeded-draw.ts'

/** A line that was logged, with its fields. */
export interface LogLine extends Readonly<Record<string, unknown>> {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly message: string
}

/** A logger that keeps its lines, those of its children too. */
export function recordingLogger(lines: LogLine[], bound: LogFields = {}): Logger {
  const at =
    (level: LogLine['level']) =>
    (message: string, fields?: LogFields): void => {
      lines.push({ ...bound, ...fields, level, message })
    }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => recordingLogger(lines, { ...bound, ...fields }),
  }
}

/** Randomness from a seed: a run can be repeated. Not for secrets. */
export function seededRandom(seed = 1): Random {
  const next = seededDraw(seed)
  const fill = (bytes: Uint8Array): Uint8Array => {
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(next() * 256)
    return bytes
  }
  return {
    fill,
    next,
    uuid: () => {
      const bytes = fill(new Uint8Array(16))
      bytes[6] = (bytes[6] & 0x0f) | 0x40
      bytes[8] = (bytes[8] & 0x3f) | 0x80
      return formatUuid(bytes)
    },
  }
}

/** A platform for tests: time is advanced by hand, and the log is kept. */
export interface TestPlatform extends Platform {
  readonly clock: ManualClock
  readonly lines: LogLine[]
}

/** Makes a platform whose parts can be looked into. */
export function testPlatform(seed?: number): TestPlatform {
  const lines: LogLine[] = []
  return {
    clock: new ManualClock(),
    random: seededRandom(seed),
    checksum: crc32c,
    compression: new Map(),
    logger: recordingLogger(lines),
    lines,
  }
}

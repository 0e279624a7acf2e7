/** Small pure services of the platform underneath: randomness, checksums, compression, logs. */

import type { Clock } from './clock.ts'
import type { Diagnostics } from './diagnostics.ts'

/** Source of randomness. A seeded one makes a run repeatable. */
export interface Random {
  /** Fills `bytes` with random bytes and returns it. */
  fill(bytes: Uint8Array): Uint8Array
  /** A UUID version 4 in canonical lower-case text. */
  uuid(): string
  /** A float of at least 0 and below 1: for jitter, not for secrets. */
  next(): number
}

/** CRC-32C (Castagnoli, RFC 3720 appendix B.4) of all of `bytes`, as an unsigned 32-bit number. */
export type Checksum = (bytes: Uint8Array) => number

/** One of the codecs of the record batch's attributes (bits 0 to 2). */
export interface CompressionCodec {
  /** 1 gzip, 2 snappy, 3 lz4, 4 zstd. */
  readonly id: number
  readonly name: string
  compress(bytes: Uint8Array): Uint8Array
  /**
   * @throws RTK_BATCH_TOO_LARGE when the result would exceed `bytesMax`, RTK_BATCH_MALFORMED when `bytes` are no such stream
   */
  decompress(bytes: Uint8Array, bytesMax: number): Uint8Array
}

/** The codecs at hand, by id. */
export type CompressionCodecs = ReadonlyMap<number, CompressionCodec>

/** What varies from one line of the log to the next. */
export type LogFields = Readonly<Record<string, unknown>>

/** Structured log; `fields` hold what varies, `message` stays constant. Never receives payloads or secrets. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds `fields` to each line. */
  child(fields: LogFields): Logger
}

/** What the platform gives the broker, so that no inner ring touches a global. */
export interface Platform {
  readonly clock: Clock
  readonly random: Random
  readonly checksum: Checksum
  readonly compression: CompressionCodecs
  readonly logger: Logger
  /** Undefined where the runtime tells nothing about itself. */
  readonly diagnostics?: Diagnostics | undefined
}

/** What may be said to a producer and its publishes, and what it comes to: checked, with its defaults. */
import { BuilderPool } from '../domain/batch/builder-pool.ts'
import {
  batchesPerProducerMax,
  type Compression,
  type CompressionCodec,
  type Durability,
  type Limits,
  type Platform,
  quoteForMessage,
  RatatoskrError,
} from '../ports/index.ts'
import { IdPool } from './batch-ids.ts'
import { type ClientCallOptions, checkTimeoutMs } from './call.ts'
import { durabilityOf, wholeNumber } from './checks.ts'
import type { Connection } from './connection.ts'
import { Deadlines } from './deadlines.ts'
import type { MessageFields, PublishCall } from './outgoing.ts'

import type { SenderContext } from './partition-sender.ts'

/** How a producer batches, and what it holds. */
export interface ProducerOptions {
  /** How long a batch waits for more messages, in milliseconds. 0: until the current turn of the event loop is over. */
  readonly lingerMs?: number | undefined
  /** Size at which a batch is full, before compression. */
  readonly batchBytesMax?: number | undefined
  /**
   * Batches under way to one partition, 16 by default; more are 16 unless `idempotent` is false: so many a broker can tell
   * apart. While five are, one that is not full waits and grows.
   */
  readonly inFlightMax?: number | undefined
  /** Bytes of messages that the producer holds. Above it publishes wait, or are refused. */
  readonly bufferBytesMax?: number | undefined
  /** Publishes that may wait for room or for their topic; more are refused with RTK_OVERLOADED. */
  readonly waitingMax?: number | undefined
  /** What a full buffer means: wait for room (default), or RTK_OVERLOADED at once. */
  readonly whenFull?: 'wait' | 'reject' | undefined
  /** How batches are compressed; left out: as the topic asks, where its codec is available. */
  readonly compression?: Compression | undefined
  readonly durability?: Durability | undefined
  /**
   * Numbers the batches, so that none is stored twice when it has to be sent again; true by default. Without, a publish whose
   * answer was lost rejects, and nobody knows whether it is stored.
   */
  readonly idempotent?: boolean | undefined
  /** Without `idempotent`: sends a batch again when its answer was lost with the connection. Then messages may be stored twice. */
  readonly retryIndeterminate?: boolean | undefined
  /** Default deadline of a publish, from the call to the acknowledgement. */
  readonly timeoutMs?: number | undefined
}

/** What may be said of a message, and of the call that publishes it. */
export interface PublishOptions extends MessageFields, PublishCall, ClientCallOptions {}
/** What may be said of a call that publishes many messages. */
export interface PublishManyOptions extends PublishCall, ClientCallOptions {}

/** What a producer works with. */
export interface ProducerParts {
  readonly connection: Connection
  readonly platform: Platform
  readonly limits: Limits
  /** Deadline of a publish that says nothing else, and whose producer does not either. */
  readonly timeoutMs: number
}

/** What a producer holds, and how long it waits. */
export interface ProducerBounds {
  readonly lingerMs: number
  readonly bufferBytesMax: number
  readonly waitingMax: number
  readonly waits: boolean
  readonly durability: Durability | undefined
  readonly timeoutMs: number
}

const KIB = 1024

/** @throws RTK_INVALID_ARGUMENT */
export const producerBounds = (options: ProducerOptions, timeoutMs: number): ProducerBounds => ({
  lingerMs: wholeNumber('lingerMs', options.lingerMs ?? 0, 0),
  bufferBytesMax: wholeNumber('bufferBytesMax', options.bufferBytesMax ?? 32 * KIB * KIB, 1),
  waitingMax: wholeNumber('waitingMax', options.waitingMax ?? 10_000, 0),
  waits: options.whenFull !== 'reject',
  durability: durabilityOf(options.durability),
  timeoutMs: checkTimeoutMs(options.timeoutMs, timeoutMs),
})

/** What the senders of the producer's partitions share. @throws RTK_INVALID_ARGUMENT, RTK_COMPRESSION_UNAVAILABLE */
export function senderSettings(
  options: ProducerOptions,
  { connection, platform, limits }: ProducerParts,
): Omit<SenderContext, 'turn' | 'look' | 'lingerFor' | 'took' | 'released'> {
  const idempotent = options.idempotent ?? true
  const inFlightMax = wholeNumber('inFlightMax', options.inFlightMax ?? batchesPerProducerMax, 1)
  return {
    connection,
    clock: platform.clock,
    deadlines: new Deadlines(platform.clock),
    random: platform.random,
    ids: new IdPool(platform.random),
    builders: builderPools(options.compression, platform),
    batchBytesMax: wholeNumber('batchBytesMax', options.batchBytesMax ?? 256 * KIB, 1),
    messagesPerBatchMax: limits.messagesPerBatchMax,
    inFlightMax: idempotent ? Math.min(inFlightMax, batchesPerProducerMax) : inFlightMax,
    idempotent,
    checksum: platform.checksum,
    logger: platform.logger,
    retryIndeterminate: options.retryIndeterminate ?? false,
  }
}

/**
 * Builders for each codec that topics ask for, or for the producer's own. A codec that a topic asks for and that is not here is
 * left out: readers understand both.
 * @throws RTK_COMPRESSION_UNAVAILABLE for the producer's own
 */
function builderPools(
  own: Compression | undefined,
  { checksum, compression: codecs }: Platform,
): (topic: Compression) => BuilderPool {
  const pools = new Map<CompressionCodec | undefined, BuilderPool>()
  const codecOf = (name: Compression | undefined): CompressionCodec | undefined =>
    codecs.values().find((codec) => codec.name === name)
  if (own !== undefined && own !== 'none' && codecOf(own) === undefined) {
    throw new RatatoskrError(
      'RTK_COMPRESSION_UNAVAILABLE',
      `compression ${quoteForMessage(own)} is not available here; use none, or install its codec`,
    )
  }
  return (topic) => {
    const compression = codecOf(own ?? topic)
    const pool = pools.get(compression) ?? new BuilderPool({ checksum, compression }, { buildersMax: 16 })
    pools.set(compression, pool)
    return pool
  }
}

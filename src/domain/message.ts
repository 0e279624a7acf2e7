/** One message as people see it, and the start of one as they give it. The data plane moves batches, not these. */

/** One header: its name, and its value as bytes. Names may repeat; order is kept. */
export type Header = readonly [name: string, value: Uint8Array]

/** A stored message. `payload`, `key` and header values are views on the batch: copy them to keep them long. */
export interface Message {
  /** UUID: version 4 when it was published as a message, version 8 (derived from its address) otherwise. */
  readonly id: string
  /** Text form of the topic: `orders`, or `namespace/orders` outside the default namespace. */
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Unix milliseconds, given by the producer or else by the broker. */
  readonly timestampMs: number
  /** When it expires, in Unix milliseconds: from then on it is not handed out. Undefined when it never does. */
  readonly expiresAtMs: number | undefined
  readonly key: Uint8Array | undefined
  readonly headers: readonly Header[]
  readonly payload: Uint8Array
}

/** A message to publish, already as bytes. */
export interface OutgoingMessage {
  readonly payload: Uint8Array
  /** Decides the partition by Kafka's murmur2; without one, messages spread. */
  readonly key?: Uint8Array | undefined
  readonly headers?: readonly Header[] | undefined
  /** A UUID of the producer's, the identity of the message; the broker assigns a version 4 otherwise. */
  readonly id?: string | undefined
  /** Unix milliseconds; the broker's clock otherwise. */
  readonly timestampMs?: number | undefined
  /**
   * How long it may be handed out, in milliseconds, at least 1: it expires so long after the broker took it, by the
   * broker's clock. Not together with `expiresAtMs`.
   */
  readonly ttlMs?: number | undefined
  /** When it expires, in Unix milliseconds. One in the past is stored, and has expired at once. */
  readonly expiresAtMs?: number | undefined
  /** Sends to this partition whatever the key. */
  readonly partition?: number | undefined
  /**
   * When to deliver it, in Unix milliseconds, at most 366 days ahead: it is kept until then, and published when the broker's
   * wall clock says so. A time that has come means at once. A time to live counts from the delivery.
   */
  readonly deliverAtMs?: number | undefined
  /** The same as a delay from now on, in milliseconds. Not together with `deliverAtMs`. */
  readonly delayMs?: number | undefined
}

/** Headers whose names begin so are the broker's own and cannot be set by clients but through the API. */
export const reservedHeaderPrefix = 'rtk-'

/** The record header that carries a message's id: 16 bytes, the UUID in network order. */
export const idHeaderName = 'rtk-id'

/**
 * The record header that says when a message expires: 8 bytes, int64 big-endian, Unix milliseconds. It stands first in its
 * record, or second when the id is first, so that it is found without walking the headers.
 */
export const expiryHeaderName = 'rtk-expires-at'

/** Largest timestamp of a message: the last moment of a JavaScript Date. */
export const timestampMsMax = 8_640_000_000_000_000

/** When a message that is taken at `nowMs` expires: a time to live beyond the last timestamp ends there. */
export function expiryOf(
  { ttlMs, expiresAtMs }: Pick<OutgoingMessage, 'ttlMs' | 'expiresAtMs'>,
  nowMs: number,
): number | undefined {
  return ttlMs === undefined ? expiresAtMs : Math.min(nowMs + ttlMs, timestampMsMax)
}

/** Messages as people publish them, and how they become what the broker stores. */
import {
  type Durability,
  type Header,
  type LeaseProof,
  type OutgoingMessage,
  quoteForMessage,
  RatatoskrError,
  utf8,
} from '../ports/index.ts'
import { wholeNumbers } from './checks.ts'

/** Headers: an object of names and values, or pairs where names repeat or their order matters. */
type HeadersInit =
  | Readonly<Record<string, string | Uint8Array>>
  | Iterable<readonly [name: string, value: string | Uint8Array]>

/** What may be said of a message beside its payload. Texts are stored as UTF-8. */
export interface MessageFields {
  /** Messages of one key go to one partition, in order. Without a key they spread. */
  readonly key?: string | Uint8Array | undefined
  readonly headers?: HeadersInit | undefined
  /** UUID of the message; a random one otherwise. */
  readonly id?: string | undefined
  /** Unix milliseconds; now otherwise. */
  readonly timestampMs?: number | undefined
  /**
   * How long it may be handed out, in milliseconds, at least 1, from the moment it is put into a batch; by the broker's
   * clock, as the client reckons it from the connection's opening. Not together with `expiresAtMs`.
   */
  readonly ttlMs?: number | undefined
  /** When it expires, in Unix milliseconds. One in the past is stored, and has expired at once. */
  readonly expiresAtMs?: number | undefined
  /** Sends to this partition whatever the key. */
  readonly partition?: number | undefined
  /**
   * When to deliver it, in Unix milliseconds, at most 366 days ahead, by the broker's clock: it is kept until then, and its
   * receipt has no partition and offset but `deliverAtMs`. A time to live counts from the delivery. Such messages go on
   * their own, not in batches: a message that is published afterwards may be stored before.
   */
  readonly deliverAtMs?: number | undefined
  /** The same as a delay from now on, in milliseconds. Not together with `deliverAtMs`. */
  readonly delayMs?: number | undefined
}

/** One message of many. */
export interface MessageToPublish extends MessageFields {
  readonly payload: string | Uint8Array
}

/** What a publish as a whole may ask for. */
export interface PublishCall {
  /** More than the topic's own level, for this publish. */
  readonly durability?: Durability | undefined
  /** The lease of a message that this is the work of: refused with RTK_LEASE_LOST when it is not held any more. */
  readonly lease?: LeaseProof | undefined
}

const leastNumbers = {
  timestampMs: 0,
  ttlMs: 1,
  expiresAtMs: 0,
  partition: 0,
  deliverAtMs: 0,
  delayMs: 0,
} as const

const bytesOf = (value: string | Uint8Array): Uint8Array => (typeof value === 'string' ? utf8(value) : value)

/**
 * The message as bytes. Sizes, names and numbers are checked by `validateOutgoingMessage`.
 * @throws RTK_INVALID_ARGUMENT, RTK_HEADER_INVALID for values that are neither text nor bytes
 */
export function toOutgoing(payload: string | Uint8Array, fields: MessageFields): OutgoingMessage {
  const { key, headers, id, timestampMs, ttlMs, expiresAtMs, partition } = fields
  const { deliverAtMs, delayMs } = fields
  if (typeof payload !== 'string' && !(payload instanceof Uint8Array)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `payload must be a string or a Uint8Array, got ${quoteForMessage(payload)}; use JSON.stringify for objects`,
    )
  }
  if (isScheduled(fields)) wholeNumbers(fields, leastNumbers) // others are checked where their batch is made
  return {
    payload: bytesOf(payload),
    key: key === undefined ? undefined : bytesOf(key),
    headers: headers === undefined ? undefined : headerList(headers),
    id,
    timestampMs,
    ttlMs,
    expiresAtMs,
    partition,
    deliverAtMs,
    delayMs,
  }
}

/** True for messages that are to be delivered later, which no batch can say. */
export const isScheduled = ({
  deliverAtMs,
  delayMs,
}: Pick<MessageFields, 'deliverAtMs' | 'delayMs'>): boolean =>
  deliverAtMs !== undefined || delayMs !== undefined

/**
 * The same for a message that is read at once and not kept: one of bytes alone is taken as it is, without an object of its own.
 * @throws as `toOutgoing`
 */
export function asOutgoing(message: MessageToPublish): OutgoingMessage {
  return isOfBytes(message) ? message : toOutgoing(message.payload, message)
}

/** True for a message of bytes of which nothing else is said. */
export function isBare(message: MessageToPublish): message is { readonly payload: Uint8Array } {
  const { payload, key, headers, id, timestampMs, ttlMs, expiresAtMs, partition } = message
  const { deliverAtMs, delayMs } = message
  return (
    payload instanceof Uint8Array &&
    key === undefined &&
    headers === undefined &&
    id === undefined &&
    timestampMs === undefined &&
    ttlMs === undefined &&
    expiresAtMs === undefined &&
    partition === undefined &&
    deliverAtMs === undefined &&
    delayMs === undefined
  )
}

function isOfBytes(message: MessageToPublish): message is MessageToPublish & OutgoingMessage {
  const { payload, key, headers } = message
  return (
    payload instanceof Uint8Array && (key === undefined || key instanceof Uint8Array) && headers === undefined
  )
}

function headerList(headers: HeadersInit): Header[] {
  if (typeof headers !== 'object' || headers === null) {
    throw new RatatoskrError(
      'RTK_HEADER_INVALID',
      `headers are an object or pairs of name and value, got ${quoteForMessage(headers)}`,
    )
  }
  const pairs = Symbol.iterator in headers ? headers : Object.entries(headers)
  const list: Header[] = []
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2) {
      throw new RatatoskrError('RTK_HEADER_INVALID', 'a header is a pair of name and value')
    }
    list.push([pair[0], bytesOf(pair[1])])
  }
  return list
}

/** A copy that the caller cannot change any more, for messages that wait before they are written into a batch. */
export function detached(message: OutgoingMessage): OutgoingMessage {
  return {
    ...message,
    payload: new Uint8Array(message.payload),
    key: message.key && new Uint8Array(message.key),
    headers: message.headers?.map(([name, value]): Header => [name, new Uint8Array(value)]),
  }
}

/**
 * The lazy view of a batch as messages, for what cannot use batches: JSON transports, plugins that ask, handlers.
 * A view decodes a field when it is read, so that looking at payloads alone costs no headers.
 */

import type { Header, Message } from '../message.ts'
import { derivedMessageId, formatUuid } from '../message-id.ts'
import { utf8Text } from './bytes.ts'
import { RecordCursor } from './cursor.ts'
import { type Expansion, expandedRecords } from './expand.ts'
import { expiryAt, expiryHeaderStart } from './expiry-header.ts'
import { baseTimestampOf, batchEndOf, isControlBatch, nextOffsetOf } from './header.ts'
import { isIdHeader } from './id-header.ts'

const noBytes: Uint8Array = new Uint8Array(0)

/** What passes over expired messages: the clock that decides, and who is told. A `Clock` is one. */
export interface ExpiryRule {
  /** Unix milliseconds. */
  now(): number
  /** Called for each message that is passed over. */
  expired?(offset: number): void
}

/** True when a message or record is not to be handed out at this moment. */
export function hasExpired(
  { expiresAtMs }: { readonly expiresAtMs: number | undefined },
  clock: Pick<ExpiryRule, 'now'>,
): boolean {
  return expiresAtMs !== undefined && expiresAtMs <= clock.now()
}

/** Where the batches come from, and how to read them. */
export interface BatchSource {
  /** Text form of the topic. */
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly expansion: Expansion
  /** Passes over messages that have expired when their turn comes. Without it they are given like any other. */
  readonly expiry?: ExpiryRule | undefined
}

/**
 * Stands at one message of whole batches, back to back, at a time, and makes a view of it when asked. Control batches are
 * passed over. Made once and used for many batches.
 */
export class MessageReader {
  #source: BatchSource | undefined
  readonly #cursor = new RecordCursor()
  #bytes: Uint8Array = noBytes
  #fromOffset = 0
  /** Where the next batch begins. */
  #nextBatch = 0
  #batch: ViewedBatch | undefined

  /** Stands before the first message from `fromOffset` on. */
  open(bytes: Uint8Array, source: BatchSource, fromOffset: number): this {
    this.#source = source
    this.#bytes = bytes
    this.#fromOffset = fromOffset
    this.#nextBatch = 0
    this.#batch = undefined
    return this
  }

  /**
   * Moves to the next message. @returns false after the last, when it is closed
   * @throws RTK_BATCH_MALFORMED, RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_TOO_LARGE when a batch cannot be decoded
   */
  next(): boolean {
    const cursor = this.#cursor
    for (;;) {
      while (this.#batch !== undefined && cursor.next()) {
        if (cursor.offset >= this.#fromOffset) return true
      }
      if (!this.#openNext()) return false
    }
  }

  /** Offset of the message that it stands at. */
  get offset(): number {
    return this.#cursor.offset
  }

  /** True when the message that it stands at is not to be handed out at this moment. Costs a look at one byte, nearly always. */
  hasExpired(clock: Pick<ExpiryRule, 'now'>): boolean {
    return this.#cursor.mayExpire && hasExpired(this.#cursor, clock)
  }

  /** The message that it stands at. */
  view(): Message {
    return new MessageView(this.#cursor, this.#batch as ViewedBatch)
  }

  /** Lets go of the bytes; it stands at nothing. */
  close(): void {
    this.#source = undefined
    this.#bytes = this.#cursor.bytes = noBytes
    this.#batch = undefined
  }

  #openNext(): boolean {
    const bytes = this.#bytes
    const source = this.#source
    while (source !== undefined && this.#nextBatch < bytes.length) {
      const at = this.#nextBatch
      this.#nextBatch = batchEndOf(bytes, at)
      if (isControlBatch(bytes, at) || nextOffsetOf(bytes, at) <= this.#fromOffset) continue
      this.#cursor.open(bytes, at, expandedRecords(bytes, at, source.expansion))
      this.#batch = { source, bytes: this.#cursor.bytes, baseTimestampMs: baseTimestampOf(bytes, at) }
      return true
    }
    this.close()
    return false
  }
}

/**
 * The messages of whole batches, back to back, from `fromOffset` on. Control batches are passed over.
 * @throws RTK_BATCH_MALFORMED, RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_TOO_LARGE when a batch cannot be decoded
 */
export function* messagesOf(
  bytes: Uint8Array,
  source: BatchSource,
  fromOffset = 0,
): Generator<Message, void, undefined> {
  const reader = new MessageReader().open(bytes, source, fromOffset)
  const { expiry } = source
  while (reader.next()) {
    if (expiry === undefined || !reader.hasExpired(expiry)) yield reader.view()
    else expiry.expired?.(reader.offset)
  }
}

/** A field's bytes: a plain Uint8Array also where the batch is a subclass of it, such as Node's Buffer. */
const viewOf = (bytes: Uint8Array, start: number, end: number): Uint8Array =>
  start === -1 ? noBytes : new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start)

/** What the views of one batch's records share. */
interface ViewedBatch {
  readonly source: BatchSource
  /** What the places in the views point into: the batch, or its expanded records. */
  readonly bytes: Uint8Array
  readonly baseTimestampMs: number
}

/**
 * One record, decoded field by field as they are asked for. Views are made by the million, and a time is a number that does
 * not fit into a field: so what is the same for a batch is kept once.
 */
class MessageView implements Message {
  readonly offset: number
  readonly #batch: ViewedBatch
  readonly #timestampDeltaMs: number
  readonly #keyStart: number
  readonly #keyEnd: number
  readonly #valueStart: number
  readonly #valueEnd: number
  readonly #headersStart: number
  readonly #headerCount: number
  readonly #end: number
  #headers: readonly Header[] | undefined
  #id: string | undefined

  constructor(cursor: RecordCursor, batch: ViewedBatch) {
    this.offset = cursor.offset
    this.#batch = batch
    this.#timestampDeltaMs = cursor.timestampDeltaMs
    this.#keyStart = cursor.keyStart
    this.#keyEnd = cursor.keyEnd
    this.#valueStart = cursor.valueStart
    this.#valueEnd = cursor.valueEnd
    this.#headersStart = cursor.headersStart
    this.#headerCount = cursor.headerCount
    this.#end = cursor.end
  }

  get topic(): string {
    return this.#batch.source.topic
  }

  get partition(): number {
    return this.#batch.source.partition
  }

  get timestampMs(): number {
    return this.#batch.baseTimestampMs + this.#timestampDeltaMs
  }

  get key(): Uint8Array | undefined {
    return this.#keyStart === -1 ? undefined : viewOf(this.#batch.bytes, this.#keyStart, this.#keyEnd)
  }

  get payload(): Uint8Array {
    return viewOf(this.#batch.bytes, this.#valueStart, this.#valueEnd)
  }

  get headers(): readonly Header[] {
    if (this.#headers === undefined) this.#readHeaders()
    return this.#headers as readonly Header[]
  }

  get id(): string {
    if (this.#headers === undefined) this.#readHeaders()
    this.#id ??= derivedMessageId(this.#batch.source.topicId, this.partition, this.offset)
    return this.#id
  }

  get expiresAtMs(): number | undefined {
    return expiryAt(this.#batch.bytes, this.#expiryHeaderStart)
  }

  get #expiryHeaderStart(): number {
    return expiryHeaderStart(this.#batch.bytes, this.#headersStart, this.#headerCount, this.#end)
  }

  #readHeaders(): void {
    const headers: Header[] = []
    const { bytes } = this.#batch
    const expiryNameStart = this.#expiryHeaderStart + 1 // after the length of the name
    const places = headerPlaces.reopenHeaders(bytes, this.#headersStart, this.#end, this.#headerCount)
    while (places.nextHeader()) {
      const { headerNameStart, headerNameEnd, headerValueStart, headerValueEnd } = places
      if (isIdHeader(places)) this.#id = formatUuid(bytes, headerValueStart)
      else if (headerNameStart !== expiryNameStart) {
        const name = utf8Text(bytes.subarray(headerNameStart, headerNameEnd))
        headers.push([name, viewOf(bytes, headerValueStart, headerValueEnd)])
      }
    }
    this.#headers = headers
  }
}

// One cursor reads the headers of every view: views are made by the million and a cursor each would double their cost.
const headerPlaces = new RecordCursor()

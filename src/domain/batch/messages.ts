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
import { batchStarts, isControlBatch, nextOffsetOf } from './header.ts'
import { isIdHeader } from './id-header.ts'

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
 * The messages of whole batches, back to back, from `fromOffset` on. Control batches are passed over.
 * @throws RTK_BATCH_MALFORMED, RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_TOO_LARGE when a batch cannot be decoded
 */
export function* messagesOf(
  bytes: Uint8Array,
  source: BatchSource,
  fromOffset = 0,
): Generator<Message, void, undefined> {
  const cursor = new RecordCursor()
  const { expiry } = source
  for (const at of batchStarts(bytes)) {
    if (isControlBatch(bytes, at) || nextOffsetOf(bytes, at) <= fromOffset) continue
    cursor.open(bytes, at, expandedRecords(bytes, at, source.expansion))
    while (cursor.next()) {
      if (cursor.offset < fromOffset) continue
      if (expiry === undefined || !cursor.mayExpire || !hasExpired(cursor, expiry))
        yield new MessageView(cursor, source)
      else expiry.expired?.(cursor.offset)
    }
  }
}

const noBytes = new Uint8Array(0)

/** A field's bytes: a plain Uint8Array also where the batch is a subclass of it, such as Node's Buffer. */
const viewOf = (bytes: Uint8Array, start: number, end: number): Uint8Array =>
  start === -1 ? noBytes : new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start)

/** One record, decoded field by field as they are asked for. */
class MessageView implements Message {
  readonly partition: number
  readonly offset: number
  readonly timestampMs: number
  readonly #source: BatchSource
  readonly #bytes: Uint8Array
  readonly #keyStart: number
  readonly #keyEnd: number
  readonly #valueStart: number
  readonly #valueEnd: number
  readonly #headersStart: number
  readonly #headerCount: number
  readonly #end: number
  #headers: readonly Header[] | undefined
  #id: string | undefined

  constructor(cursor: RecordCursor, source: BatchSource) {
    this.partition = source.partition
    this.offset = cursor.offset
    this.timestampMs = cursor.timestampMs
    this.#source = source
    this.#bytes = cursor.bytes
    this.#keyStart = cursor.keyStart
    this.#keyEnd = cursor.keyEnd
    this.#valueStart = cursor.valueStart
    this.#valueEnd = cursor.valueEnd
    this.#headersStart = cursor.headersStart
    this.#headerCount = cursor.headerCount
    this.#end = cursor.end
  }

  get topic(): string {
    return this.#source.topic
  }

  get key(): Uint8Array | undefined {
    return this.#keyStart === -1 ? undefined : viewOf(this.#bytes, this.#keyStart, this.#keyEnd)
  }

  get payload(): Uint8Array {
    return viewOf(this.#bytes, this.#valueStart, this.#valueEnd)
  }

  get headers(): readonly Header[] {
    if (this.#headers === undefined) this.#readHeaders()
    return this.#headers as readonly Header[]
  }

  get id(): string {
    if (this.#headers === undefined) this.#readHeaders()
    this.#id ??= derivedMessageId(this.#source.topicId, this.partition, this.offset)
    return this.#id
  }

  get expiresAtMs(): number | undefined {
    return expiryAt(this.#bytes, this.#expiryHeaderStart)
  }

  get #expiryHeaderStart(): number {
    return expiryHeaderStart(this.#bytes, this.#headersStart, this.#headerCount, this.#end)
  }

  #readHeaders(): void {
    const headers: Header[] = []
    const bytes = this.#bytes
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

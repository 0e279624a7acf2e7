/**
 * Reads blocks of headers as RFC 7541 compresses them. A client that sends the same headers with each call has said all of
 * them before: then its block is a few bytes, which need not be read again while the table is the same.
 */
import type { IncomingHttpHeaders } from 'node:http2'
import { connectionError, http2Error, streamError } from './errors.ts'
import { Header, HeaderName } from './header.ts'
import { staticHeaders } from './hpack-tables.ts'
import { huffmanText } from './huffman.ts'

/** Of what was said before, as RFC 7541 counts it; that of SETTINGS that say nothing else. */
const tableBytesMax = 4_096
/** All headers of a call, counted alike. */
export const headerListBytesMax = 64 * 1024
const headersMax = 128
/** Blocks that are known by heart. */
const blockBytesKnownMax = 512

const knownHeaders: readonly Header[] = staticHeaders.map(
  ([name, value]) => new Header(new HeaderName(name), value),
)

export class HeaderDecoder {
  /** The newest first. */
  readonly #table: Header[] = []
  #tableBytes = 0
  #tableMax = tableBytesMax
  #block: Uint8Array = new Uint8Array(0)
  #at = 0
  /** Counts what changes the table. */
  #changes = 0
  #known:
    | { readonly block: Uint8Array; readonly changes: number; readonly headers: IncomingHttpHeaders }
    | undefined

  /**
   * The headers of a request.
   * @throws Http2Error of the connection when the block cannot be read, of the stream when they are no request
   */
  decode(block: Uint8Array): IncomingHttpHeaders {
    const known = this.#known
    if (known !== undefined && known.changes === this.#changes && isSame(known.block, block))
      return known.headers
    const changes = this.#changes
    const list = this.read(block)
    const headers = requestOf(list)
    if (changes === this.#changes && block.length <= blockBytesKnownMax) {
      this.#known = { block: Uint8Array.prototype.slice.call(block), changes, headers }
    }
    return headers
  }

  /** Headers of any kind, which change the table also when nobody looks at them. @throws Http2Error of the connection */
  read(block: Uint8Array): readonly Header[] {
    this.#block = block
    this.#at = 0
    const list: Header[] = []
    let bytes = 0
    while (this.#at < block.length) {
      const header = this.#next(list.length === 0)
      if (header === undefined) continue
      bytes += header.bytes
      if (bytes > headerListBytesMax || list.length >= headersMax)
        throw connectionError(http2Error.ENHANCE_YOUR_CALM, 'the headers are too large')
      list.push(header)
    }
    return list
  }

  /** @returns the next header; `undefined` for what only changes the table */
  #next(isFirst: boolean): Header | undefined {
    const first = this.#block[this.#at]
    if (first >= 0x80) return this.#entry(this.#integer(7))
    if (first >= 0x40) {
      const header = this.#literal(6)
      this.#insert(header)
      return header
    }
    if (first < 0x20) return this.#literal(4)
    if (!isFirst) throw malformed('the size of the table changes within the headers')
    const size = this.#integer(5)
    if (size > tableBytesMax) throw malformed('the table is larger than was agreed on')
    this.#tableMax = size
    this.#evict()
    this.#changes++
    return undefined
  }

  #entry(index: number): Header {
    const header =
      index <= knownHeaders.length ? knownHeaders[index - 1] : this.#table[index - knownHeaders.length - 1]
    if (header === undefined) throw malformed(`there is no header ${index}`)
    return header
  }

  #literal(prefixBits: number): Header {
    const index = this.#integer(prefixBits)
    const name = index === 0 ? new HeaderName(this.#text()) : this.#entry(index).name
    return new Header(name, this.#text())
  }

  #insert(header: Header): void {
    this.#changes++
    this.#table.unshift(header)
    this.#tableBytes += header.bytes
    this.#evict()
  }

  #evict(): void {
    while (this.#tableBytes > this.#tableMax) {
      const oldest = this.#table.pop()
      if (oldest === undefined) return
      this.#tableBytes -= oldest.bytes
    }
  }

  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1
    let value = this.#byte() & mask
    if (value < mask) return value
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#byte()
      value += (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw malformed('a number is too large')
  }

  #byte(): number {
    if (this.#at >= this.#block.length) throw malformed('the headers are cut short')
    return this.#block[this.#at++]
  }

  #text(): string {
    const isHuffman = this.#at < this.#block.length && this.#block[this.#at] >= 0x80
    const length = this.#integer(7)
    const end = this.#at + length
    if (end > this.#block.length) throw malformed('the headers are cut short')
    const bytes = this.#block.subarray(this.#at, end)
    this.#at = end
    return isHuffman ? huffmanText(bytes) : latin1(bytes)
  }
}

const malformed = (message: string) => connectionError(http2Error.COMPRESSION_ERROR, message)

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false
  return true
}

/** @throws Http2Error of the stream */
function requestOf(list: readonly Header[]): IncomingHttpHeaders {
  const headers: Record<string, string> = Object.create(null)
  let arePseudo = true
  for (const header of list) {
    const { name, value } = header
    if (!header.isAllowed) throw noRequest()
    if (name.isPseudo && (!arePseudo || name.text in headers)) throw noRequest()
    arePseudo = name.isPseudo
    if (name.text === 'content-length' && (headers[name.text] ?? value) !== value) throw noRequest()
    // Of a header that comes more than once the first counts.
    headers[name.text] ??= value
  }
  if (!headers[':method'] || !headers[':path'] || !headers[':scheme']) throw noRequest()
  return Object.freeze(headers)
}

const noRequest = () => streamError(http2Error.PROTOCOL_ERROR, 'the headers are no request')

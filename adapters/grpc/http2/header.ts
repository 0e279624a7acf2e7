/**
 * A header, and whether it may be said. One of the table is said again by a byte, however long it is: so it is looked at once,
 * when that is asked first, and not at all when nobody asks.
 */

/** A longer name is none that anybody uses. */
const nameLengthMax = 256
/** What one entry of the table takes beside its texts. */
const entryBytes = 32

const pseudoHeaders: ReadonlySet<string> = new Set([':method', ':scheme', ':path', ':authority'])
/** What belongs to connections of HTTP/1. */
const connectionHeaders: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
])

export class HeaderName {
  readonly text: string
  #isAllowed: boolean | undefined

  constructor(text: string) {
    this.text = text
  }

  get isPseudo(): boolean {
    return this.text.startsWith(':')
  }

  /** Whether a request may have such a header. */
  get isAllowed(): boolean {
    this.#isAllowed ??= this.isPseudo ? pseudoHeaders.has(this.text) : isPlainName(this.text)
    return this.#isAllowed
  }
}

const isPlainName = (text: string): boolean =>
  text.length <= nameLengthMax && /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(text) && !connectionHeaders.has(text)

export class Header {
  readonly name: HeaderName
  readonly value: string
  #isAllowed: boolean | undefined

  constructor(name: HeaderName, value: string) {
    this.name = name
    this.value = value
  }

  /** As RFC 7541 counts it. */
  get bytes(): number {
    return this.name.text.length + this.value.length + entryBytes
  }

  /** Whether a request may have it. */
  get isAllowed(): boolean {
    this.#isAllowed ??= this.name.isAllowed && isValue(this.value) && this.#isOfItsName()
    return this.#isAllowed
  }

  /** Some say nothing but one kind of thing: `te` else is of connections. */
  #isOfItsName(): boolean {
    if (this.name.text === 'te') return this.value === 'trailers'
    return this.name.text !== 'content-length' || /^\d+$/.test(this.value)
  }
}

const isValue = (text: string): boolean => !/[\0\r\n]|^[ \t]|[ \t]$/.test(text)

/** Whether these headers may stand behind a request. */
export const areTrailers = (list: readonly Header[]): boolean =>
  list.every((header) => header.isAllowed && !header.name.isPseudo)

/**
 * Base64 (RFC 4648 section 4, padded) without Buffer, which browsers and the inner rings lack. The engine's own
 * `toBase64` and `fromBase64` are used where they exist; the portable pair gives the same bytes and refuses the same texts.
 */

interface NativeEncoder {
  toBase64?(): string
}
interface NativeDecoder {
  fromBase64?(text: string, options: { lastChunkHandling: 'strict' }): Uint8Array
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const symbolOf = Uint8Array.from(alphabet, (symbol) => symbol.charCodeAt(0))
const notASymbol = 255
const sextetOf = new Uint8Array(256).fill(notASymbol)
for (let value = 0; value < 64; value++) sextetOf[symbolOf[value]] = value
const padding = 0x3d

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** The base64 text of bytes. */
export function toBase64(bytes: Uint8Array): string {
  return (bytes as NativeEncoder).toBase64?.() ?? toBase64Portable(bytes)
}

/** The bytes of a base64 text; undefined unless it is canonical: padded, without whitespace or left-over bits. */
export function fromBase64(text: string): Uint8Array | undefined {
  const native = Uint8Array as unknown as NativeDecoder
  if (native.fromBase64 === undefined) return fromBase64Portable(text)
  if (text.length % 4 !== 0) return undefined
  try {
    const bytes = native.fromBase64(text, { lastChunkHandling: 'strict' })
    return bytes.length === decodedSize(text) ? bytes : undefined // it passes over whitespace
  } catch {
    return undefined
  }
}

/** As `toBase64`, on engines without it. */
export function toBase64Portable(bytes: Uint8Array): string {
  const text = new Uint8Array(Math.ceil(bytes.length / 3) * 4).fill(padding)
  let to = 0
  for (let from = 0; from < bytes.length; from += 3, to += 4) {
    const left = bytes.length - from
    const group = (bytes[from] << 16) | ((bytes[from + 1] ?? 0) << 8) | (bytes[from + 2] ?? 0)
    text[to] = symbolOf[group >> 18]
    text[to + 1] = symbolOf[(group >> 12) & 63]
    if (left > 1) text[to + 2] = symbolOf[(group >> 6) & 63]
    if (left > 2) text[to + 3] = symbolOf[group & 63]
  }
  return decoder.decode(text)
}

/** As `fromBase64`, on engines without it. */
export function fromBase64Portable(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0) return undefined
  const symbols = encoder.encode(text)
  if (symbols.length !== text.length) return undefined // not ASCII
  const bytes = new Uint8Array(decodedSize(text))
  const whole = symbols.length - (text.endsWith('=') ? 4 : 0)
  let to = 0
  for (let from = 0; from < whole; from += 4, to += 3) {
    const a = sextetOf[symbols[from]]
    const b = sextetOf[symbols[from + 1]]
    const c = sextetOf[symbols[from + 2]]
    const d = sextetOf[symbols[from + 3]]
    if ((a | b | c | d) === notASymbol) return undefined
    bytes[to] = (a << 2) | (b >> 4)
    bytes[to + 1] = (b << 4) | (c >> 2)
    bytes[to + 2] = (c << 6) | d
  }
  return whole === symbols.length || decodeLast(symbols, whole, bytes, to) ? bytes : undefined
}

/** The last group, which padding makes shorter. @returns false when it is not canonical */
function decodeLast(symbols: Uint8Array, from: number, bytes: Uint8Array, to: number): boolean {
  const a = sextetOf[symbols[from]]
  const b = sextetOf[symbols[from + 1]]
  const one = symbols[from + 2] === padding
  const c = one ? 0 : sextetOf[symbols[from + 2]]
  if ((a | b | c) === notASymbol || (one ? b & 15 : c & 3) !== 0) return false
  bytes[to] = (a << 2) | (b >> 4)
  if (!one) bytes[to + 1] = (b << 4) | (c >> 2)
  return true
}

function decodedSize(text: string): number {
  const pads = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  return (text.length / 4) * 3 - pads
}

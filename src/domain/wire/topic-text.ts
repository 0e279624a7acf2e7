/**
 * Names of topics as frames carry them. To make a text of its bytes, or bytes of its text, costs as much as all else that is done
 * with the frame of a lone message, and the names of a connection are few.
 */
import { utf8, utf8Text } from '../batch/bytes.ts'

/** A power of two. Each place holds one name, the last that fell on it. */
const places = 64
/** Longer ones are looked at anew each time. */
const rememberedBytesMax = 256

const names = new Array<Uint8Array | undefined>(places).fill(undefined)
const texts = new Array<string>(places).fill('')

/** The text of the bytes from `start` up to `end`, which are UTF-8. */
export function topicText(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start
  if (length === 0 || length > rememberedBytesMax) return utf8Text(bytes.subarray(start, end))
  const place = (length * 5 + bytes[start] * 3 + bytes[start + (length >>> 1)] + bytes[end - 1] * 7) % places
  const name = names[place]
  if (name !== undefined && isSame(name, bytes, start, length)) return texts[place]
  const text = utf8Text(bytes.subarray(start, end))
  names[place] = new Uint8Array(bytes.subarray(start, end))
  texts[place] = text
  return text
}

function isSame(name: Uint8Array, bytes: Uint8Array, start: number, length: number): boolean {
  if (name.length !== length) return false
  for (let i = 0; i < length; i++) if (name[i] !== bytes[start + i]) return false
  return true
}

let lastText = ''
let lastBytes = utf8(lastText)

/** The UTF-8 of a name; not to be changed. */
export function topicBytes(text: string): Uint8Array {
  if (text !== lastText) {
    lastBytes = utf8(text)
    lastText = text
  }
  return lastBytes
}

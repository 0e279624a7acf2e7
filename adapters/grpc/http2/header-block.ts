/** Writes headers for RFC 7541 without a table: what an answer says is small, and mostly the same. */
import type { OutgoingHttpHeaders } from 'node:http2'
import { staticHeaders } from './hpack-tables.ts'

const staticNumbers = new Map(
  staticHeaders.map(([name], index) => [name, index + 1]).reverse() as [string, number][],
)
const staticPairs = new Map(staticHeaders.map(([name, value], index) => [`${name}\0${value}`, index + 1]))

/** The block of these headers. Values are written by their bytes in Latin-1. */
export function headerBlock(headers: OutgoingHttpHeaders): Buffer {
  const parts: Buffer[] = []
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue
    const text = String(value)
    const pair = staticPairs.get(`${name}\0${text}`)
    if (pair !== undefined) parts.push(Buffer.of(0x80 | pair))
    else {
      const number = staticNumbers.get(name)
      if (number === undefined) parts.push(Buffer.of(0), textOf(name))
      else parts.push(integer(0, 4, number))
      parts.push(textOf(text))
    }
  }
  return Buffer.concat(parts)
}

function textOf(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  return Buffer.concat([integer(0, 7, bytes.length), bytes])
}

function integer(flags: number, prefixBits: number, value: number): Buffer {
  const mask = (1 << prefixBits) - 1
  if (value < mask) return Buffer.of(flags | value)
  const bytes = [flags | mask]
  let rest = value - mask
  while (rest >= 0x80) {
    bytes.push((rest & 0x7f) | 0x80)
    rest = Math.floor(rest / 0x80)
  }
  bytes.push(rest)
  return Buffer.from(bytes)
}

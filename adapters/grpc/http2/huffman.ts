/** Texts in the Huffman codes of RFC 7541, four bits at a time: bit by bit, a client could make a lot of work by few bytes. */
import { connectionError, http2Error } from './errors.ts'
import { endOfString, huffmanCodes } from './hpack-tables.ts'

/** A code that has begun is a node of their tree; for each bit the next node, or a symbol as a number below 0. */
const tree: number[] = [0, 0]
for (const [length, { first, symbols }] of huffmanCodes.entries()) {
  for (const [place, symbol] of symbols.entries()) add(first + place, length, ~symbol)
}

function add(code: number, length: number, leaf: number): void {
  let node = 0
  for (let bit = length - 1; bit > 0; bit--) {
    const at = node * 2 + ((code >> bit) & 1)
    if (tree[at] === 0) tree[at] = tree.push(0, 0) / 2 - 1
    node = tree[at]
  }
  tree[node * 2 + (code & 1)] = leaf
}

const nodes = tree.length / 2
/** By node and four bits: the node behind them, and the symbol that ends within them. No code has less than 5 bits. */
const nextNodes = new Uint16Array(nodes * 16)
const symbols = new Int16Array(nodes * 16).fill(-1)
for (let at = 0; at < nodes * 16; at++) {
  let node = at >> 4
  for (let bit = 3; bit >= 0; bit--) {
    const next = tree[node * 2 + ((at >> bit) & 1)]
    if (next < 0) symbols[at] = ~next
    node = Math.max(0, next)
  }
  nextNodes[at] = node
}

/** Where a text may end: within the first 7 bits of the end's code, which is of ones. */
const ends = new Set<number>()
for (let node = 0; ends.size <= 7; node = tree[node * 2 + 1]) ends.add(node)

/** The text in Latin-1. @throws Http2Error of the connection */
export function huffmanText(bytes: Uint8Array): string {
  // The shortest code is of 5 bits.
  const text = Buffer.allocUnsafe(Math.ceil((bytes.length * 8) / 5))
  let count = 0
  let node = 0
  for (let half = 0; half < bytes.length * 2; half++) {
    const byte = bytes[half >> 1]
    const at = (node << 4) | ((half & 1) === 0 ? byte >> 4 : byte & 15)
    node = nextNodes[at]
    const symbol = symbols[at]
    if (symbol === -1) continue
    if (symbol === endOfString) throw malformed('a text has an end within it')
    text[count++] = symbol
  }
  if (!ends.has(node)) throw malformed('a text is padded wrongly')
  return text.toString('latin1', 0, count)
}

const malformed = (message: string) => connectionError(http2Error.COMPRESSION_ERROR, message)

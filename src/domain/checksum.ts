/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4) without any platform: what checks batches where no native one is at hand,
 * such as in a browser.
 *
 * Slicing by 16: sixteen tables turn sixteen bytes a step into look-ups that do not wait for each other. About 1.2 GB/s
 * where a native one does 4.8; sixteen separate tables instead of one flat array would halve it.
 */

const polynomial = 0x82f63b78 // Castagnoli's, bits reversed
const slices = 16

let table: Int32Array | undefined

/** The tables one after the other. Made at the first use: 16 KiB that a process with a native checksum never needs. */
function makeTable(): Int32Array {
  const made = new Int32Array(slices * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? polynomial : 0)
    made[byte] = crc
  }
  for (let i = 256; i < made.length; i++) {
    const before = made[i - 256]
    made[i] = (before >>> 8) ^ made[before & 0xff]
  }
  return made
}

/** CRC-32C of all of `bytes`, as an unsigned 32-bit number. */
export function portableCrc32c(bytes: Uint8Array): number {
  table ??= makeTable()
  const t = table
  const length = bytes.length
  const wholeSteps = length - (length % slices)
  let crc = -1
  let at = 0
  for (; at < wholeSteps; at += slices) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
    crc =
      t[0xf00 | (crc & 0xff)] ^
      t[0xe00 | ((crc >>> 8) & 0xff)] ^
      t[0xd00 | ((crc >>> 16) & 0xff)] ^
      t[0xc00 | (crc >>> 24)] ^
      t[0xb00 | bytes[at + 4]] ^
      t[0xa00 | bytes[at + 5]] ^
      t[0x900 | bytes[at + 6]] ^
      t[0x800 | bytes[at + 7]] ^
      t[0x700 | bytes[at + 8]] ^
      t[0x600 | bytes[at + 9]] ^
      t[0x500 | bytes[at + 10]] ^
      t[0x400 | bytes[at + 11]] ^
      t[0x300 | bytes[at + 12]] ^
      t[0x200 | bytes[at + 13]] ^
      t[0x100 | bytes[at + 14]] ^
      t[bytes[at + 15]]
  }
  for (; at < length; at++) crc = (crc >>> 8) ^ t[(crc ^ bytes[at]) & 0xff]
  return ~crc >>> 0
}

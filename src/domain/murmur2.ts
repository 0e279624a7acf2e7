/**
 * MurmurHash2, 32 bits, as Kafka's clients hash keys, so that both put a key into the same partition.
 * Source: https://github.com/apache/kafka (org.apache.kafka.common.utils.Utils.murmur2); algorithm by Austin Appleby.
 */

const seed = 0x9747b28c
const multiplier = 0x5bd1e995

/** The hash as a signed 32-bit number. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length
  let hash = seed ^ length
  const wholeWords = length & ~3
  for (let at = 0; at < wholeWords; at += 4) {
    let word = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
    word = Math.imul(word, multiplier)
    word ^= word >>> 24
    hash = Math.imul(hash, multiplier) ^ Math.imul(word, multiplier)
  }
  const left = length - wholeWords
  if (left > 0) {
    if (left === 3) hash ^= bytes[wholeWords + 2] << 16
    if (left >= 2) hash ^= bytes[wholeWords + 1] << 8
    hash = Math.imul(hash ^ bytes[wholeWords], multiplier)
  }
  hash = Math.imul(hash ^ (hash >>> 13), multiplier)
  return hash ^ (hash >>> 15)
}

/**
 * Room for small frames that are made, or read into bytes which the next read overwrites. They share arrays: one of its own costs four
 * times as much as the copy, and more than all that is done with a small frame beside.
 */

/** Whoever keeps a frame up to this size keeps the array that it shares. */
const pooledBytesMax = 2 * 1024
const poolBytes = 16 * 1024
let pool = new Uint8Array(0)
let poolUsed = 0

/** These bytes in a place of their own. */
export function copyOf(chunk: Uint8Array, start: number, end: number): Uint8Array {
  const size = end - start
  if (size > pooledBytesMax) return new Uint8Array(chunk.subarray(start, end))
  const copy = roomFor(size)
  copy.set(chunk.subarray(start, end))
  return copy
}

/** So many bytes, all 0, that are nobody else's. */
export function roomFor(size: number): Uint8Array {
  if (size > pooledBytesMax) return new Uint8Array(size)
  if (pool.length - poolUsed < size) {
    pool = new Uint8Array(poolBytes)
    poolUsed = 0
  }
  const from = poolUsed
  poolUsed += size
  return pool.subarray(from, poolUsed)
}

import { describe, expect, it } from 'vitest'
import { BatchMemory, giveBackBytes, keepBytes, lendBytes, letEscape } from './batch-memory.ts'

const KIB = 1024
const size = 100 * KIB

function memory(options: { freeBytesMax?: number; checked?: boolean } = {}) {
  const allocated: number[] = []
  const frees: number[] = []
  const made = new BatchMemory({
    allocate: (bytes) => {
      allocated.push(bytes)
      return new ArrayBuffer(bytes)
    },
    freeBytesMax: options.freeBytesMax ?? 10 * 1024 * KIB,
    checked: options.checked ?? true,
    onFree: () => frees.push(made.freeBytes),
  })
  return { memory: made, allocated, frees }
}

/** Bytes that a log had, and that everybody has given back. */
function givenBack(from: BatchMemory, bytes = size): Uint8Array {
  const taken = from.take(bytes)
  const kept = keepBytes(taken)
  giveBackBytes(taken)
  kept?.giveBack()
  return taken
}

describe('memory of batches', () => {
  it('serves again when its log and all readers have given it back, and nobody else sees the next batch', () => {
    const { memory: from, allocated } = memory()
    const first = from.take(size)
    const buffer = keepBytes(first)
    giveBackBytes(first) // who published it
    lendBytes(first)
    lendBytes(first)
    buffer?.giveBack()
    giveBackBytes(first)
    expect([from.freeBytes, first.length]).toEqual([0, size])
    giveBackBytes(first)
    expect([from.freeBytes, first.length]).toEqual([allocated[0], 0])
    const second = from.take(size - 10)
    expect([from.freeBytes, second.length, allocated.length]).toEqual([0, size - 10, 1])
    expect(first.length).toBe(0)
  })

  it('is left to the collector when it has escaped, whenever that was said, and when no log has said that it keeps it', () => {
    const { memory: from, allocated } = memory()
    for (const before of [true, false]) {
      const bytes = from.take(size)
      if (before) letEscape(bytes)
      const kept = keepBytes(bytes)
      giveBackBytes(bytes)
      lendBytes(bytes)
      kept?.giveBack()
      if (!before) letEscape(bytes)
      giveBackBytes(bytes)
      expect(bytes.length).toBe(size)
    }
    const unkept = from.take(size)
    giveBackBytes(unkept)
    expect([unkept.length, from.freeBytes, allocated.length]).toEqual([size, 0, 3])
  })

  it('is hardly larger than what is asked for, so that a batch which fills it is kept', () => {
    const { memory: from } = memory()
    for (let bytes = 64 * KIB + 1; bytes <= 8 * 1024 * KIB; bytes = Math.ceil(bytes * 1.013)) {
      const taken = from.take(bytes)
      expect(taken.length).toBe(bytes)
      expect(taken.buffer.byteLength - bytes).toBeLessThanOrEqual(bytes / 16)
    }
  })

  it('is not counted when it is too small or too large to be used again', () => {
    const { memory: from } = memory()
    for (const bytes of [0, 1, 64 * KIB, 8 * 1024 * KIB + 1]) {
      const taken = from.take(bytes)
      expect([taken.length, keepBytes(taken)]).toEqual([bytes, undefined])
    }
  })

  it('waits up to a bound, and goes back when it was not needed between two trims', () => {
    const { memory: from, allocated, frees } = memory({ freeBytesMax: 3 * size })
    for (const bytes of Array.from({ length: 5 }, () => from.take(size))) {
      keepBytes(bytes)?.giveBack()
      giveBackBytes(bytes)
    }
    expect([from.freeBytes, frees]).toEqual([3 * size, [0]])
    from.trim() // one that has waited for no interval yet stays
    givenBack(from)
    givenBack(from)
    expect(allocated.length).toBe(5)
    from.trim()
    expect(from.freeBytes).toBe(size)
    from.trim()
    expect(from.freeBytes).toBe(0)
    givenBack(from)
    expect([allocated.length, frees.length]).toEqual([6, 2])
  })
})

describe('checked memory', () => {
  it('finds who changes bytes after giving them back, though not through a view', () => {
    const { memory: from } = memory()
    let seen: ArrayBuffer | undefined
    const transfer = ArrayBuffer.prototype.transfer
    ArrayBuffer.prototype.transfer = function (this: ArrayBuffer) {
      seen = transfer.call(this)
      return seen
    }
    try {
      givenBack(from)
    } finally {
      ArrayBuffer.prototype.transfer = transfer
    }
    expect(new Set(new Uint8Array(seen as ArrayBuffer))).toEqual(new Set([0xdb]))
    new Uint8Array(seen as ArrayBuffer)[70_000] = 1
    expect(() => from.take(size)).toThrow(/changed after they had been given back/)
  })

  it('refuses to take back what nobody holds; unchecked it takes no notice', () => {
    const bytes = givenBack(memory({ freeBytesMax: 0 }).memory)
    expect(() => giveBackBytes(bytes)).toThrow(/did not hold them/)
    const unchecked = givenBack(memory({ freeBytesMax: 0, checked: false }).memory)
    giveBackBytes(unchecked)
    expect(unchecked.length).toBe(size)
  })
})

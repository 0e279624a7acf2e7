import type { Message } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { MessagePacker } from './messages.ts'

describe('packing', () => {
  const message = (payloadBytes: number, offset: number): Message => ({
    id: 'i',
    topic: 't',
    partition: 0,
    offset,
    timestampMs: 0,
    expiresAtMs: undefined,
    key: undefined,
    headers: [],
    payload: new Uint8Array(payloadBytes),
  })
  /** A packer whose writes stay open until they are let go. */
  function packing() {
    const writes: { readonly offsets: number[]; readonly done: PromiseWithResolvers<void> }[] = []
    const packer = new MessagePacker((list) => {
      const write = { offsets: list.map(({ offset }) => offset), done: Promise.withResolvers<void>() }
      writes.push(write)
      return write.done.promise
    })
    return { packer, writes, offsets: () => writes.map((write) => write.offsets) }
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve))

  it('writes the messages of a turn together, and those of a write with the next', async () => {
    const { packer, writes, offsets } = packing()
    expect([packer.add(message(1, 0)), packer.add(message(1, 1))]).toEqual([undefined, undefined])
    await turn()
    packer.add(message(1, 2))
    await turn()
    packer.add(message(1, 3))
    expect(offsets()).toEqual([[0, 1]])
    writes[0].done.resolve()
    await turn()
    expect(offsets()).toEqual([
      [0, 1],
      [2, 3],
    ])
  })

  it('is full at its bound until all is written', async () => {
    const { packer, writes } = packing()
    const large = 8 * 1024
    let full = packer.add(message(large, 0))
    let taken = 1
    while (full === undefined && taken < 100) full = packer.add(message(large, taken++))
    expect(taken).toBe(8)
    let settled = false
    full?.then(() => {
      settled = true
    })
    await turn()
    expect(settled).toBe(false)
    writes[0].done.resolve()
    await turn()
    expect(settled).toBe(true)
    expect(packer.add(message(1, 9))).toBeUndefined()
  })

  it('counts keys and headers', () => {
    const { packer } = packing()
    const big = new Uint8Array(64 * 1024)
    expect(packer.add({ ...message(0, 0), headers: [['h', big]] })).toBeInstanceOf(Promise)
    expect(packing().packer.add({ ...message(0, 0), key: big })).toBeInstanceOf(Promise)
  })

  it('flushes without waiting for the write under way', async () => {
    const { packer, offsets } = packing()
    packer.add(message(1, 0))
    await turn()
    packer.add(message(1, 1))
    expect(packer.flush()).toBeInstanceOf(Promise)
    expect(offsets()).toEqual([[0], [1]])
    expect(packer.flush()).toBeUndefined()
  })

  it('tells whoever waits that a write failed, and nobody else', async () => {
    const { packer, writes } = packing()
    packer.add(message(1, 0))
    await turn()
    writes[0].done.reject(new Error('gone'))
    await turn()
    const full = packer.add(message(64 * 1024, 1))
    await turn()
    writes[1].done.reject(new Error('gone'))
    await expect(full).rejects.toThrow('gone')
  })
})

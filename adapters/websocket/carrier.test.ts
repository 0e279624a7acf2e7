import { describe, expect, it } from 'vitest'
import { webSocketFraming } from './carrier.ts'

describe('the header of a frame', () => {
  it.each([
    [0, [0x82, 0]],
    [125, [0x82, 125]],
    [126, [0x82, 126, 0, 126]],
    [65_535, [0x82, 126, 0xff, 0xff]],
    [65_536, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
    [100_032, [0x82, 127, 0, 0, 0, 0, 0, 1, 0x86, 0xc0]],
    [5_000_000_000 % 2 ** 32, [0x82, 127, 0, 0, 0, 0, 0x2a, 0x05, 0xf2, 0x00]],
  ])('tells a length of %i', (length, header) => {
    const target = new Uint8Array(webSocketFraming.headerBytes(length))
    webSocketFraming.writeHeader(target, false, length)
    expect([...target]).toEqual(header)
  })

  it('tells text from binary', () => {
    const target = new Uint8Array(2)
    webSocketFraming.writeHeader(target, true, 3)
    expect([...target]).toEqual([0x81, 3])
  })
})

import { crc32c } from '@node-rs/crc32'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from './batch/bytes.ts'
import { portableCrc32c } from './checksum.ts'

describe('portableCrc32c', () => {
  // RFC 3720 appendix B.4, and the check value of the CRC catalogue.
  it.each([
    ['32 zeros', new Uint8Array(32), 0x8a9136aa],
    ['32 ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['32 rising', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
    ['32 falling', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
    ['check', utf8('123456789'), 0xe3069283],
    ['nothing', new Uint8Array(0), 0],
  ])('gives the published value of %s', (_, bytes, crc) => {
    expect(portableCrc32c(bytes)).toBe(crc)
  })

  it('equals the native one on any bytes, wherever they begin in their buffer', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(9), (bytes, skip) => {
        const part = bytes.subarray(skip)
        expect(portableCrc32c(part)).toBe(crc32c(part))
      }),
    )
  })
})

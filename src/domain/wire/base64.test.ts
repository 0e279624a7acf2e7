import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromBase64, fromBase64Portable, toBase64, toBase64Portable } from './base64.ts'

const bytes = fc.uint8Array({ maxLength: 200 })

describe('base64', () => {
  it('gives what Buffer gives, natively and portably', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        const text = Buffer.from(value).toString('base64')
        expect(toBase64(value)).toBe(text)
        expect(toBase64Portable(value)).toBe(text)
        expect(fromBase64(text)).toEqual(value)
        expect(fromBase64Portable(text)).toEqual(value)
      }),
    )
  })

  it('refuses natively and portably the same texts, and only what is not canonical', () => {
    const symbols = fc.constantFrom(...'ABCz09+/==  \n-_é%')
    fc.assert(
      fc.property(fc.array(symbols, { maxLength: 12 }), (parts) => {
        const text = parts.join('')
        const decoded = fromBase64(text)
        expect(fromBase64Portable(text)).toEqual(decoded)
        expect(decoded !== undefined).toBe(Buffer.from(text, 'base64').toString('base64') === text)
      }),
      { numRuns: 2_000 },
    )
  })

  it.each(['A', 'AA', 'AAA', 'AA=A', 'A===', 'AB==', 'AAB=', 'AA A', 'AA\n==', 'AA-_', '===='])(
    'refuses %j',
    (text) => {
      expect(fromBase64(text)).toBeUndefined()
      expect(fromBase64Portable(text)).toBeUndefined()
    },
  )
})

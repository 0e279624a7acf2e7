/**
 * Any character of Unicode, as the unit of texts of properties: what `unit: 'binary'` draws. That one makes a table of all
 * 1.1 million of them at its first use, which takes more than a second of each process of the tests.
 */
import fc from 'fast-check'

const firstHalfOfPair = 0xd800
const halvesOfPairs = 0x800
const charactersMax = 0x10ffff - halvesOfPairs

export const anyCharacter: fc.Arbitrary<string> = fc
  .integer({ min: 0, max: charactersMax })
  .map((n) => String.fromCodePoint(n < firstHalfOfPair ? n : n + halvesOfPairs))

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { utf8, utf8Text } from '../batch/bytes.ts'
import { topicBytes, topicText } from './topic-text.ts'

const few = fc.constantFrom('a', 'b', 'ab', 'ba', 'orders', 'order5', 'ärger', '', 'x'.repeat(300))
const name = fc.oneof(few, fc.string({ unit: 'grapheme', maxLength: 20 }))

it('names come out as they are, in whatever order they are asked for, and whatever becomes of the bytes', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, fc.nat(5)), { minLength: 1, maxLength: 60 }), (asked) => {
      for (const [text, before] of asked) {
        const bytes = utf8(`${'.'.repeat(before)}${text}.`)
        expect(topicText(bytes, before, bytes.length - 1)).toBe(text)
        bytes.fill(1) // the frame that it came in is used again
        expect(utf8Text(topicBytes(text))).toBe(text)
      }
    }),
  )
})

it('names that differ in one byte are not taken for each other', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 30, max: 127 }), fc.nat(29), (bytes, at) => {
      const other = new Uint8Array(bytes)
      other[at % bytes.length] ^= 1
      expect(topicText(bytes, 0, bytes.length)).toBe(utf8Text(bytes))
      expect(topicText(other, 0, other.length)).toBe(utf8Text(other))
    }),
  )
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isRatatoskrError, type RatatoskrError } from '../errors.ts'
import {
  jsonAny,
  jsonBoolean,
  jsonFields,
  jsonInteger,
  jsonList,
  jsonObject,
  jsonOneOf,
  jsonString,
  optional,
  optionalInteger,
  parseJson,
  readFields,
} from './json.ts'

function refusal(run: () => unknown): RatatoskrError {
  try {
    run()
  } catch (error) {
    if (isRatatoskrError(error)) return error
    throw error
  }
  throw new Error('nothing was refused')
}

const bounds = { depthMax: 8 }

describe('parseJson', () => {
  it('gives what JSON.parse gives, from text and from bytes', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), (text) => {
        const value = JSON.parse(text)
        expect(parseJson(text, { depthMax: 64 })).toEqual(value)
        expect(parseJson(new TextEncoder().encode(text), { depthMax: 64 })).toEqual(value)
      }),
    )
  })

  it('counts levels as a walk of the value does, brackets within strings not among them', () => {
    const depthOf = (value: unknown): number =>
      typeof value !== 'object' || value === null ? 0 : 1 + Math.max(0, ...Object.values(value).map(depthOf))
    const tree = fc.letrec((tie) => ({
      node: fc.oneof(
        { maxDepth: 6 },
        fc.constantFrom('[', '{"', '\\', '"]"', 1, null),
        fc.array(tie('node'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', '[[', '"{', '\\\\'), tie('node'), { maxKeys: 2 }),
      ),
    })).node
    fc.assert(
      fc.property(tree, fc.integer({ min: 0, max: 6 }), (value, depthMax) => {
        const text = JSON.stringify(value)
        if (depthOf(value) <= depthMax) expect(parseJson(text, { depthMax })).toEqual(value)
        else expect(refusal(() => parseJson(text, { depthMax })).code).toBe('RTK_INVALID_ARGUMENT')
      }),
    )
  })

  it('refuses a depth bomb quickly, before building it', () => {
    expect(refusal(() => parseJson('['.repeat(5_000_000), bounds)).message).toContain('8 levels')
    expect(refusal(() => parseJson('{"a":'.repeat(1_000_000), bounds)).message).toContain('8 levels')
  })

  it.each(['', '{', '{"a":1,}', '"\\', '"abc', "{'a':1}", 'NaN', '\ufeff{}', '01'])('refuses %j', (text) => {
    const error = refusal(() => parseJson(text, bounds))
    expect(error.code).toBe('RTK_INVALID_ARGUMENT')
    expect(error.message).toContain('not JSON')
  })

  it('refuses bytes that are not UTF-8, and too many', () => {
    expect(refusal(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22), bounds)).message).toContain('UTF-8')
    const large = refusal(() => parseJson('[1,2,3]', { depthMax: 8, bytesMax: 6 }))
    expect(large.code).toBe('RTK_BATCH_TOO_LARGE')
    expect(large.message).toContain('6 bytes')
  })

  it('keeps __proto__ an ordinary member', () => {
    const value = parseJson('{"__proto__":{"admin":true}}', bounds) as Record<string, unknown>
    expect(Object.keys(value)).toEqual(['__proto__'])
    expect(value.admin).toBeUndefined()
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  })
})

describe('readFields', () => {
  const shape = {
    topic: jsonString,
    count: optionalInteger(1, 10),
    on: optional(jsonBoolean),
    mode: optional(jsonOneOf(['fast', 'safe'])),
    list: optional(jsonList(jsonFields({ partition: jsonInteger(0) }))),
    rest: optional(jsonObject),
  }

  it('gives the fields and leaves out what is missing or null', () => {
    const fields = readFields({ topic: 'a', count: 3, on: null, list: [{ partition: 0 }] }, shape)
    expect(fields).toEqual({ topic: 'a', count: 3, list: [{ partition: 0 }] })
    expect(Object.keys(fields)).toEqual(['topic', 'count', 'list'])
  })

  it.each([
    [{}, 'topic is missing: it must be a string'],
    [{ topic: 5 }, 'topic must be a string, got 5'],
    [{ topic: 'a', count: 11 }, 'count must be a whole number from 1 to 10, got 11'],
    [{ topic: 'a', count: null }, 'count must be a whole number from 1 to 10, got null'],
    [{ topic: 'a', count: 1.5 }, 'count must be a whole number from 1 to 10, got 1.5'],
    [{ topic: 'a', on: 'yes' }, 'on must be true or false, got "yes"'],
    [{ topic: 'a', mode: 'slow' }, 'mode must be one of fast, safe, got "slow"'],
    [{ topic: 'a', list: {} }, 'list must be a list, got object'],
    [
      { topic: 'a', list: [{ partition: -1 }] },
      'list[0].partition must be a whole number of at least 0, got -1',
    ],
    [{ topic: 'a', list: [{ partition: 1 }, { part: 1 }] }, 'unknown field "list[1].part"'],
    [{ topic: 'a', rest: [] }, 'rest must be an object, got a list'],
    [{ topic: 'a', rest: false }, 'rest must be an object, got false'],
    [{ topic: 'a', moed: 'fast' }, 'unknown field "moed"; did you mean mode?'],
    [JSON.parse('{"topic":"a","__proto__":{}}'), 'unknown field "__proto__"'],
    [{ topic: 'a', toString: 1 }, 'unknown field "toString"'],
    [[], 'the request must be an object, got a list'],
    [null, 'the request must be an object, got null'],
  ])('refuses %j', (value, message) => {
    const error = refusal(() => readFields(value, shape))
    expect(error.code).toBe('RTK_INVALID_ARGUMENT')
    expect(error.message).toContain(message)
  })

  it('asks a member that takes anything at least to be there', () => {
    expect(readFields({ value: null }, { value: jsonAny })).toEqual({ value: null })
    expect(refusal(() => readFields({}, { value: jsonAny })).message).toContain('value is missing')
  })

  it('never lets control characters of a field name into the message', () => {
    expect(refusal(() => readFields({ 'a\nb\u2028': 1 }, shape)).message).not.toMatch(/[\n\u2028]/)
  })
})

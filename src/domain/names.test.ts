import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isRatatoskrError } from './errors.ts'
import {
  assertLabel,
  assertTopicName,
  formatTopicRef,
  isReservedTopicName,
  parseTopicRef,
  quoteForMessage,
} from './names.ts'
import { anyCharacter } from './testing/any-character.ts'

const topicInvalid = expect.objectContaining({ code: 'RTK_TOPIC_NAME_INVALID' })
const level = fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/)
const name = fc.array(level, { minLength: 1, maxLength: 8 }).map((levels) => levels.join('.'))
const label = name.filter((text) => text.length <= 128)

describe('assertTopicName', () => {
  it('takes levels of the allowed characters', () => {
    fc.assert(fc.property(name, (text) => assertTopicName(text)))
    for (const text of ['a', 'A-Z_0.9', 'x'.repeat(249), '_internal', '__proto__']) assertTopicName(text)
  })

  it.each<unknown>([
    '',
    '.',
    '..',
    '.a',
    'a.',
    'a..b',
    'x'.repeat(250),
    'a b',
    'a/b',
    'a\n',
    'a\0',
    '../../etc',
    'größe',
    'тема',
    'a\u202eb',
    undefined,
    null,
    7,
    ['a'],
    {},
  ])('refuses %j', (text) => {
    expect(() => assertTopicName(text)).toThrow(topicInvalid)
  })

  it('agrees with the rule on any text', () => {
    const characters = fc.constantFrom(...'aZ09._-/ \n\0é')
    const text = fc.oneof(fc.string({ unit: characters, maxLength: 12 }), fc.string({ unit: anyCharacter }))
    fc.assert(
      fc.property(text, (candidate) => {
        const allowed =
          candidate.length <= 249 &&
          candidate.split('.').every((one) => /^[A-Za-z0-9_-]+$/.test(one) && !one.includes('\n'))
        let taken = true
        try {
          assertTopicName(candidate)
        } catch (error) {
          expect(isRatatoskrError(error, 'RTK_TOPIC_NAME_INVALID')).toBe(true)
          taken = false
        }
        expect(taken).toBe(allowed)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('parseTopicRef and formatTopicRef', () => {
  it('undo each other', () => {
    fc.assert(
      fc.property(label, name, (space, topic) => {
        const ref = { namespace: space, name: topic }
        expect(parseTopicRef(formatTopicRef(ref))).toEqual(ref)
      }),
    )
    expect(formatTopicRef({ namespace: 'default', name: 'orders' })).toBe('orders')
  })

  it('put a name without namespace into the one of who asks', () => {
    expect(parseTopicRef('orders')).toEqual({ namespace: 'default', name: 'orders' })
    expect(parseTopicRef('orders', 'team')).toEqual({ namespace: 'team', name: 'orders' })
    expect(parseTopicRef('other/orders', 'team')).toEqual({ namespace: 'other', name: 'orders' })
  })

  it.each<unknown>([
    '/',
    '/a',
    'a/',
    'a/b/c',
    'a b/c',
    `${'n'.repeat(129)}/a`,
    '../a',
    './a',
    'a./a',
    'ns/..',
    5,
    undefined,
  ])('refuse %j', (text) => {
    expect(() => parseTopicRef(text)).toThrow(topicInvalid)
  })
})

describe('assertLabel', () => {
  it('takes 1 to 128 of the allowed characters', () => {
    fc.assert(fc.property(label, (text) => assertLabel('member', text)))
    fc.assert(fc.property(label, (text) => assertLabel('group', `g${text.slice(1)}`)))
  })

  it.each<unknown>(['', 'a b', 'x'.repeat(129), 'a/b', 'a\n', '.', '..', '.a', 'a.', 'a..b', undefined, 1])(
    'refuses %j and says what it is',
    (value) => {
      expect(() => assertLabel('member', value)).toThrow(
        expect.objectContaining({
          code: 'RTK_INVALID_ARGUMENT',
          message: expect.stringMatching(/^member must be/),
        }),
      )
    },
  )
})

it("the broker's own names begin with an underscore", () => {
  expect(['_offsets', 'orders', 'a._b'].map(isReservedTopicName)).toEqual([true, false, false])
})

describe('quoteForMessage', () => {
  it('shows what came', () => {
    expect(['a', 5, null, undefined, true, {}].map(quoteForMessage)).toEqual([
      '"a"',
      '5',
      'null',
      'undefined',
      'boolean',
      'object',
    ])
  })

  it('is short and printable ASCII whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: anyCharacter, maxLength: 500 }), (text) => {
        expect(quoteForMessage(text)).toMatch(/^[\x20-\x7e]{2,500}$/)
      }),
    )
    expect(quoteForMessage('x'.repeat(1_000_000)).length).toBeLessThan(100)
  })
})

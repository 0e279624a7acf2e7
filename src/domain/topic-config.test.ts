import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { durabilityLevels } from './durability.ts'
import { defaultLimits } from './limits.ts'
import { compressions, retentionPolicies, type TopicConfig } from './topic.ts'
import { defaultTopicConfig, equalTopicConfigs, parseTopicChanges, parseTopicConfig } from './topic-config.ts'

const limits = { ...defaultLimits, partitionsPerTopicMax: 16, messageBytesMax: 1_000 }
const defaults = defaultTopicConfig('fsync', limits)
const invalid = (message: RegExp | string) =>
  expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT', message: expect.stringMatching(message) })

const unboundedOr = (value: fc.Arbitrary<number>) => fc.oneof(fc.constant(-1), value)
const positive = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const config: fc.Arbitrary<TopicConfig> = fc.record({
  partitions: fc.integer({ min: 1, max: 16 }),
  retentionMs: unboundedOr(positive),
  retentionBytes: unboundedOr(positive),
  retentionMessages: unboundedOr(positive),
  retention: fc.constantFrom(...retentionPolicies),
  segmentBytes: fc.integer({ min: 65_536, max: 2_147_483_648 }),
  durability: fc.constantFrom(...durabilityLevels),
  messageBytesMax: fc.integer({ min: 1, max: 1_000 }),
  dedupWindowMs: fc.integer({ min: 0, max: 604_800_000 }),
  compression: fc.constantFrom(...compressions),
})

describe('defaultTopicConfig', () => {
  it('is one partition, seven days, 10 GB or a million messages, in segments of 100 MB', () => {
    expect(defaults).toEqual({
      partitions: 1,
      retentionMs: 604_800_000,
      retentionBytes: 10_000_000_000,
      retentionMessages: 1_000_000,
      retention: 'limits',
      segmentBytes: 100_000_000,
      durability: 'fsync',
      messageBytesMax: 1_000,
      dedupWindowMs: 0,
      compression: 'none',
    })
    expect(parseTopicConfig(defaults, defaults, limits)).toEqual(defaults)
  })
})

describe('parseTopicConfig', () => {
  it('keeps what is allowed', () => {
    fc.assert(
      fc.property(config, (given) => {
        expect(parseTopicConfig(given, defaults, limits)).toEqual(given)
      }),
    )
  })

  it('completes what is left out or undefined', () => {
    for (const nothing of [undefined, {}, { partitions: undefined, durability: undefined }]) {
      expect(parseTopicConfig(nothing, defaults, limits)).toEqual(defaults)
    }
    expect(parseTopicConfig({ partitions: 4 }, defaults, limits)).toEqual({ ...defaults, partitions: 4 })
  })

  it.each<readonly [keyof TopicConfig, unknown]>([
    ['partitions', 0],
    ['partitions', 17],
    ['partitions', -1],
    ['partitions', 1.5],
    ['partitions', '4'],
    ['partitions', null],
    ['partitions', Number.NaN],
    ['retentionMs', 0],
    ['retentionMs', -2],
    ['retentionMs', 2 ** 53],
    ['retentionMs', Number.POSITIVE_INFINITY],
    ['retentionBytes', 0],
    ['retentionBytes', 10n],
    ['retentionMessages', 0],
    ['retentionMessages', -2],
    ['retentionMessages', '1000'],
    ['compression', 'lz4'],
    ['retention', 'LIMITS'],
    ['retention', 'compact'],
    ['retention', 1],
    ['retention', null],
    ['segmentBytes', 65_535],
    ['segmentBytes', 2_147_483_649],
    ['segmentBytes', -1],
    ['messageBytesMax', 0],
    ['dedupWindowMs', -1],
    ['dedupWindowMs', 604_800_001],
    ['messageBytesMax', 1_001],
    ['durability', 'FSYNC'],
    ['durability', 3],
    ['durability', null],
    ['durability', 'constructor'],
  ])('refuses %s: %s', (name, value) => {
    expect(() => parseTopicConfig({ [name]: value }, defaults, limits)).toThrow(
      invalid(new RegExp(`^${name} must be`)),
    )
  })

  it('refuses what it does not know, and says what may have been meant', () => {
    const parse = (given: unknown) => () => parseTopicConfig(given, defaults, limits)
    expect(parse({ retentionMS: 1 })).toThrow(invalid(/did you mean retentionMs\?$/))
    expect(parse({ partition: 1 })).toThrow(invalid(/did you mean partitions\?$/))
    expect(parse({ compaction: true })).toThrow(invalid(/known are partitions, retentionMs/))
    expect(parse(JSON.parse('{"__proto__": {"partitions": 3}}'))).toThrow(invalid('__proto__'))
    expect(parse({ ['x'.repeat(100_000)]: 1 })).toThrow(invalid('100000 characters'))
  })

  it.each<unknown>([null, [], 'partitions', 5, true])('refuses %j, which is no object', (given) => {
    expect(() => parseTopicConfig(given, defaults, limits)).toThrow(invalid('is an object'))
  })
})

describe('parseTopicChanges', () => {
  const current = { ...defaults, partitions: 4 }

  it('gives what is to be changed, and nothing else', () => {
    expect(parseTopicChanges({ retentionMs: -1, partitions: undefined }, current, limits)).toEqual({
      retentionMs: -1,
    })
    expect(parseTopicChanges({ partitions: 4 }, current, limits)).toEqual({ partitions: 4 })
    expect(parseTopicChanges({ partitions: 5 }, current, limits)).toEqual({ partitions: 5 })
    expect(parseTopicChanges(undefined, current, limits)).toEqual({})
  })

  it('refuses fewer partitions', () => {
    expect(() => parseTopicChanges({ partitions: 3 }, current, limits)).toThrow(
      invalid('the topic has 4, got 3'),
    )
  })

  it('checks ranges as at creation', () => {
    expect(() => parseTopicChanges({ segmentBytes: 1 }, current, limits)).toThrow(invalid('segmentBytes'))
    expect(() => parseTopicChanges({ nope: 1 }, current, limits)).toThrow(invalid('nope'))
  })
})

describe('equalTopicConfigs', () => {
  it('is true when every field is equal, and false when one is not', () => {
    fc.assert(
      fc.property(config, config, (one, other) => {
        expect(equalTopicConfigs(one, { ...one })).toBe(true)
        const names = Object.keys(one) as (keyof TopicConfig)[]
        expect(equalTopicConfigs(one, other)).toBe(names.every((name) => one[name] === other[name]))
        for (const name of names) {
          expect(equalTopicConfigs(one, { ...one, [name]: 'another' } as unknown as TopicConfig)).toBe(false)
        }
      }),
    )
  })
})

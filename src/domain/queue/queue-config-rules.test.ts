import { describe, expect, it } from 'vitest'
import {
  defaultQueueConfig,
  equalQueueConfigs,
  parseQueueConfig,
  queueConfigFields,
} from './queue-config-rules.ts'

const invalid = (message: string) =>
  expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining(message) })

describe('parseQueueConfig', () => {
  it('completes what is given', () => {
    expect(parseQueueConfig(undefined, defaultQueueConfig)).toEqual(defaultQueueConfig)
    expect(
      parseQueueConfig(
        { sharing: 'shared', retry: 'fixed:1s', retriesMax: -1, ackTimeoutMs: undefined },
        defaultQueueConfig,
      ),
    ).toEqual({
      ...defaultQueueConfig,
      sharing: 'shared',
      retry: { kind: 'fixed', delayMs: 1_000 },
      retriesMax: -1,
    })
  })

  it.each<[unknown, string]>([
    [[], 'are an object'],
    [{ ackTimoutMs: 1 }, 'did you mean ackTimeoutMs?'],
    [{ sharing: 'all' }, 'sharing must be one of partitioned, shared, keyShared'],
    [{ ackTimeoutMs: 0 }, 'ackTimeoutMs must be a whole number from 1'],
    [{ retriesMax: 1.5 }, 'or -1 for no end'],
    [{ inFlightMax: -1 }, 'inFlightMax must be'],
    [{ deadLetterTopic: 'a b' }, 'deadLetterTopic must be'],
    [{ deadLetterExpired: 1 }, 'must be true or false'],
    [{ retry: 'often' }, 'a retry policy is written as'],
  ])('refuses %j', (given, message) => {
    expect(() => parseQueueConfig(given, defaultQueueConfig)).toThrow(invalid(message))
  })

  it('knows when two groups are set alike, field by field', () => {
    expect(
      equalQueueConfigs(defaultQueueConfig, {
        ...defaultQueueConfig,
        retry: { ...defaultQueueConfig.retry },
      }),
    ).toBe(true)
    const others = {
      sharing: 'shared',
      retry: 'fixed:1s',
      deadLetterTopic: 'none',
      deadLetterExpired: true,
    } as const
    for (const field of queueConfigFields) {
      const value = field in others ? others[field as keyof typeof others] : 7
      const changed = parseQueueConfig({ [field]: value }, defaultQueueConfig)
      expect(equalQueueConfigs(defaultQueueConfig, changed), field).toBe(false)
    }
  })
})

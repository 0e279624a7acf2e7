import { describe, expect, it } from 'vitest'
import { utf8, utf8Text } from '../batch/bytes.ts'
import type { Header } from '../message.ts'
import { assertTopicName } from '../names.ts'
import {
  type DeadLetterFacts,
  deadLetterHeaders,
  readDeadLetter,
  redrivenHeaders,
} from './dead-letter-headers.ts'
import { deadLetterRefOf, defaultDeadLetterRef } from './dead-letter-topic.ts'

const facts: DeadLetterFacts = {
  reason: 'retries',
  error: 'no stock: ü',
  attempts: 4,
  firstAtMs: 1_000,
  lastAtMs: 2_000,
  topic: 'shop/orders',
  partition: 3,
  offset: 2 ** 40,
  group: 'billing',
  timestampMs: 5,
}

describe('headers of dead letters', () => {
  it('say all that is known, and are read back', () => {
    const own: Header[] = [['h', utf8('v')]]
    const read = readDeadLetter({ headers: deadLetterHeaders(own, facts) })
    expect(read).toEqual({ facts, redrives: 0, headers: own })
  })

  it('leave out what is not known', () => {
    const unknown = { ...facts, error: '', firstAtMs: undefined, lastAtMs: undefined }
    const headers = deadLetterHeaders([], unknown)
    const names = headers.map(([name]) => name.replace('rtk-dead-letter-', ''))
    expect(names).toEqual(['reason', 'attempts', 'topic', 'partition', 'offset', 'group', 'timestamp'])
    expect(readDeadLetter({ headers })?.facts).toEqual(unknown)
  })

  it('of a message that was redriven keep how often, and nothing else of its life before', () => {
    const redriven = redrivenHeaders([['h', utf8('v')]], { redrives: 2, group: 'g', letter: 'x:1' })
    const again = deadLetterHeaders(deadLetterHeaders(redriven, { ...facts, group: 'old' }), facts)
    const read = readDeadLetter({ headers: again })
    expect(read).toMatchObject({ redrives: 2, facts: { group: 'billing' } })
    expect(read?.headers.map(([name, value]) => [name, utf8Text(value)])).toEqual([['h', 'v']])
  })

  it('are not there on other messages', () => {
    expect(readDeadLetter({ headers: [['h', utf8('v')]] })).toBeUndefined()
    const [reason] = deadLetterHeaders([], facts)
    expect(readDeadLetter({ headers: [reason] })).toBeUndefined()
  })
})

describe('the name of a dead letter topic', () => {
  it('is that of the topic, with .dlq behind', () => {
    expect(defaultDeadLetterRef({ namespace: 'n', name: 'orders' })).toEqual({
      namespace: 'n',
      name: 'orders.dlq',
    })
  })

  it('is cut, and has a hash, when that would be too long; it is lawful, and differs', () => {
    const names = ['a', 'b'].map(
      (end) => defaultDeadLetterRef({ namespace: 'n', name: `${'x.'.repeat(123)}xx${end}` }).name,
    )
    for (const name of names) {
      expect(() => assertTopicName(name)).not.toThrow()
      expect(name).toHaveLength(249)
      expect(name.endsWith('.dlq')).toBe(true)
    }
    expect(names[0]).not.toBe(names[1])
  })

  it('is what the group says, nothing, or the topic itself when that holds dead letters', () => {
    const orders = { namespace: 'n', name: 'orders' }
    expect(deadLetterRefOf(orders, 'grave')).toEqual({ namespace: 'n', name: 'grave' })
    expect(deadLetterRefOf(orders, 'm/grave')).toEqual({ namespace: 'm', name: 'grave' })
    expect(deadLetterRefOf(orders, 'none')).toBeUndefined()
    const dlq = { namespace: 'n', name: 'orders.dlq' }
    expect(deadLetterRefOf(dlq, '')).toEqual(dlq)
  })

  it('is never the topic itself otherwise, whatever is stored', () => {
    const orders = { namespace: 'n', name: 'orders' }
    for (const own of ['orders', 'n/orders']) {
      expect(deadLetterRefOf(orders, own)).toEqual({ namespace: 'n', name: 'orders.dlq' })
    }
  })
})

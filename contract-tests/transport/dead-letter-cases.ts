/** Dead letters: listed with all that is known of them, published again each once, and let go of. */
import { type OutgoingMessage, utf8 } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode } from '../suite.ts'
import type { TransportContext } from './context.ts'
import { textMessage } from './context.ts'
import { heldOf, type QueueCase, queueCase, settlementOf } from './queue-context.ts'

const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

/** Publishes messages that group `g` then gives up at once, for the reason `error <n>`. */
async function buried(
  context: TransportContext,
  count: number,
  fields: Partial<OutgoingMessage> = {},
): Promise<(QueueCase & { readonly letters: NonNullable<QueueCase['probe']['deadLetters']> }) | undefined> {
  const one = await queueCase(context)
  const letters = one?.probe.deadLetters
  if (one === undefined || letters === undefined) return undefined // what a protocol does not have it cannot do wrong
  for (let n = 0; n < count; n++) await one.probe.publish('orders', textMessage(`m${n}`, fields))
  let done = 0
  while (done < count) {
    const taken = await one.queues.take('orders', { group: 'g', member: 'm', waitMs: 5_000 })
    const settlements = taken.batches
      .flatMap(heldOf)
      .map((held) => settlementOf(held, 'terminate', { reason: `error ${done++}` }))
    await one.queues.settle('orders', { group: 'g', settlements })
  }
  while ((await letters.deadLetters('orders')).letters.length < count) await one.moment()
  return { ...one, letters }
}

export const deadLetterCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'lists dead letters as the messages were, with all that is known of them',
    async run(context) {
      const key = Uint8Array.of(0xff, 0)
      const one = await buried(context, 1, { key, headers: [['h', utf8('v')]], timestampMs: 5_000 })
      if (one === undefined) return
      const page = await one.letters.deadLetters('orders')
      expect(page).toMatchObject({ deadLetterTopic: 'orders.dlq' })
      const [{ key: keyRead, headers, payload, ...letter }] = page.letters
      expect([...(keyRead ?? [])]).toEqual([...key])
      expect(headers.map(([name, value]) => [name, text(value)])).toEqual([['h', 'v']])
      expect(text(payload)).toBe('m0')
      expect(letter).toMatchObject({
        partition: 0,
        offset: 0,
        group: 'g',
        reason: 'terminated',
        error: 'error 0',
        attempts: 1,
        redrives: 0,
        source: { topic: 'orders', offset: 0 },
        timestampMs: 5_000,
      })
      expect(letter.lastAtMs).toBeGreaterThanOrEqual(letter.firstAtMs ?? Number.POSITIVE_INFINITY)
      expect(Math.abs(letter.buriedAtMs - (letter.lastAtMs ?? 0))).toBeLessThan(10_000)
      expect((await one.letters.deadLetters('orders', { key })).letters).toHaveLength(1)
      expect((await one.letters.deadLetters('orders', { key: utf8('k') })).letters).toEqual([])
    },
  },
  {
    name: 'lists dead letters page by page, and those that a filter means',
    async run(context) {
      const one = await buried(context, 3)
      if (one === undefined) return
      const { letters } = one
      const errors = async (request: object): Promise<readonly string[]> =>
        (await letters.deadLetters('orders', request)).letters.map(({ error }) => error)
      const first = await letters.deadLetters('orders', { max: 2 })
      expect(first.letters.map(({ error }) => error)).toEqual(['error 0', 'error 1'])
      expect(await errors({ max: 2, after: first.next })).toEqual(['error 2'])
      expect(await errors({ match: '1' })).toEqual(['error 1'])
      expect(await errors({ offsets: [0, 2] })).toEqual(['error 0', 'error 2'])
      expect(await errors({ ids: [first.letters[1].id] })).toEqual(['error 1'])
      expect(await errors({ group: 'h' })).toEqual([])
      expect(await errors({ reason: 'expired' })).toEqual([])
      expect(await errors({ sinceMs: first.letters[0].buriedAtMs, untilMs: 8_000_000_000_000 })).toHaveLength(
        3,
      )
      expect(await errors({ deadLetterTopic: 'none.there' })).toEqual([])
      await expect(letters.deadLetters('no.such.topic')).rejects.toMatchObject({
        code: 'RTK_TOPIC_NOT_FOUND',
      })
      await expect(letters.redriveDeadLetters('no.such.topic', {})).rejects.toMatchObject({
        code: 'RTK_TOPIC_NOT_FOUND',
      })
    },
  },
  {
    name: 'redrives what a filter means, each letter once',
    async run(context) {
      const one = await buried(context, 3)
      if (one === undefined) return
      const { letters, probe } = one
      const request = { match: '1', group: 'g' }
      const counts = { deadLetterTopic: 'orders.dlq', matched: 1, redriven: 1, refused: 0, skipped: 2 }
      expect(await letters.redriveDeadLetters('orders', { ...request, dryRun: true })).toEqual(counts)
      expect(await probe.fetch('orders', 0, 3)).toEqual([])
      expect(await letters.redriveDeadLetters('orders', request)).toEqual(counts)
      expect(await letters.redriveDeadLetters('orders', request)).toMatchObject({ matched: 0, redriven: 0 })
      const [again, ...more] = await probe.fetch('orders', 0, 3)
      expect([text(again.payload), more]).toEqual(['m1', []])
      expect(again.headers.map(([name]) => name)).toContain('rtk-redrives')
      await probe.createTopic('other')
      expect(
        await letters.redriveDeadLetters('orders', { max: 1, target: 'other', rate: 1_000 }),
      ).toMatchObject({
        redriven: 1,
        next: 2,
      })
      expect((await probe.fetch('other', 0, 0)).map(({ payload }) => text(payload))).toEqual(['m0'])
      expect((await letters.deadLetters('orders')).letters.map(({ error }) => error)).toEqual(['error 2'])
    },
  },
  {
    name: 'redrives to the group that had given the message up, and to every group when that is asked for',
    async run(context) {
      const one = await buried(context, 2)
      if (one === undefined) return
      const { letters, queues, probe } = one
      const settled = async (group: string): Promise<readonly number[]> => {
        const seen: number[] = []
        for (;;) {
          const { batches } = await queues.take('orders', { group, member: 'm', waitMs: 200 })
          if (batches.length === 0) return seen
          const held = batches.flatMap(heldOf)
          seen.push(...held.map(({ offset }) => offset))
          await queues.settle('orders', {
            group,
            settlements: held.map((each) => settlementOf(each, 'ack')),
          })
        }
      }
      expect(await settled('other')).toEqual([0, 1])
      await letters.redriveDeadLetters('orders', { max: 1 })
      await letters.redriveDeadLetters('orders', { everyGroup: true })
      expect(await settled('other')).toEqual([3])
      expect(await settled('g')).toEqual([2, 3])
      expect((await probe.fetch('orders', 0, 2)).map(({ payload }) => text(payload))).toEqual(['m0', 'm1'])
    },
  },
  {
    name: 'lets go of dead letters that are purged',
    async run(context) {
      const one = await buried(context, 3)
      if (one === undefined) return
      const { letters } = one
      const purged = await letters.purgeDeadLetters('orders', { offsets: [0, 1] })
      expect(purged).toEqual({ deadLetterTopic: 'orders.dlq', purged: 2, skipped: 1 })
      expect((await letters.deadLetters('orders')).letters.map(({ error }) => error)).toEqual(['error 2'])
      expect(await letters.redriveDeadLetters('orders')).toMatchObject({ matched: 1, redriven: 1 })
    },
  },
  {
    name: 'refuses requests about dead letters that make no sense',
    async run(context) {
      const one = await buried(context, 1)
      if (one === undefined) return
      const { letters } = one
      await expectCode(() => letters.deadLetters('orders', { max: 5_000 }), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => letters.deadLetters('orders', { ids: ['x'] }), 'RTK_INVALID_ARGUMENT')
      await expectCode(
        () => letters.deadLetters('orders', { reason: 'bored' as never }),
        'RTK_INVALID_ARGUMENT',
      )
      await expectCode(() => letters.redriveDeadLetters('orders', { rate: 0 }), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => letters.redriveDeadLetters('orders', { target: 'none' }), 'RTK_TOPIC_NOT_FOUND')
      await expectCode(() => letters.purgeDeadLetters('orders', { max: 0 }), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => letters.deadLetters('a b'), 'RTK_TOPIC_NAME_INVALID')
      expect((await letters.deadLetters('orders')).letters).toHaveLength(1)
    },
  },
]

/** Who may set how a queue group shares, retries and buries: no door into a group lets in more than the others. */
import { describe, expect, it } from 'vitest'
import type { Action, QueueConfig, Resource, Session } from '../ports/index.ts'
import { BrokerBench, codeOf } from './testing/broker-bench.ts'

const sink = { deliver(): void {}, ended(): void {}, lost(): void {} }
const doors = {
  consume: (session: Session, config: Partial<QueueConfig>, group = 'g') =>
    session.consume('orders', { group, config }, sink),
  take: (session: Session, config: Partial<QueueConfig>, group = 'g') =>
    session.take('orders', { group, config }),
  createQueue: (session: Session, config: Partial<QueueConfig>, group = 'g') =>
    session.createQueue('orders', group, config),
  alterQueue: (session: Session, config: Partial<QueueConfig>) => session.alterQueue('orders', 'g', config),
}
const joining = ['consume', 'take'] as const

async function made(allows: (action: Action, resource: Resource) => boolean) {
  const bench = new BrokerBench()
  const owner = await bench.start()
  await owner.createTopic('orders')
  await owner.createQueue('orders', 'g', { retriesMax: 7, deadLetterTopic: 'failed' })
  const session = await bench.connect('alice')
  bench.allows = allows
  return { bench, owner, session }
}

const consumer = (action: Action): boolean => action === 'topic:consume' || action === 'group:consume'

describe('the settings of a queue group', () => {
  it.each(joining)(
    'are not changed, nor chosen for a new one, by %s of who may only consume',
    async (door) => {
      const { owner, session, bench } = await made(consumer)
      for (const config of [
        { retriesMax: 1 },
        { deadLetterTopic: 'secret' },
        { sharing: 'shared' },
      ] as const) {
        expect(await codeOf(() => doors[door](session, config))).toBe('RTK_PERMISSION_DENIED')
        expect(await codeOf(() => doors[door](session, config, 'another'))).toBe('RTK_PERMISSION_DENIED')
      }
      expect(bench.hooks.of('denied')[0]).toMatchObject({ action: 'group:configure' })
      expect((await owner.describeQueue('orders', 'g')).config).toMatchObject({
        retriesMax: 7,
        deadLetterTopic: 'failed',
      })
      expect(await owner.listGroups('orders')).toEqual(['g'])
    },
  )

  it.each(joining)('may be named by %s as they are', async (door) => {
    const { session } = await made(consumer)
    const own = { retriesMax: 7, deadLetterTopic: 'failed' }
    expect(await codeOf(() => doors[door](session, own))).toBeUndefined()
    expect(await codeOf(() => doors[door](session, { sharing: 'partitioned' }, 'another'))).toBeUndefined()
  })

  it.each(Object.keys(doors) as (keyof typeof doors)[])(
    'send dead letters, by %s, only where whoever sets them may publish',
    async (door) => {
      const { session, bench } = await made(
        (action, resource) =>
          action !== 'topic:publish' || (resource.kind === 'topic' && resource.name === 'mine'),
      )
      expect(await codeOf(() => doors[door](session, { deadLetterTopic: 'secret' }))).toBe(
        'RTK_PERMISSION_DENIED',
      )
      expect(bench.hooks.of('denied')).toMatchObject([{ action: 'topic:publish', resource: 'topic secret' }])
      for (const deadLetterTopic of ['', 'none', 'mine']) {
        const group = `to-${deadLetterTopic}`
        expect(await codeOf(() => doors[door](session, { deadLetterTopic }, group))).toBeUndefined()
      }
    },
  )

  it('of a topic send dead letters only where whoever sets them may publish', async () => {
    const { session, owner } = await made((action) => action !== 'topic:publish')
    const queue = { deadLetterTopic: 'secret' }
    expect(await codeOf(() => session.createTopic('other', { queue }))).toBe('RTK_PERMISSION_DENIED')
    expect(await codeOf(() => session.alterTopic('orders', { queue }))).toBe('RTK_PERMISSION_DENIED')
    await owner.alterTopic('orders', { queue })
    expect(await codeOf(() => session.alterTopic('orders', { queue, retentionMs: 5 }))).toBeUndefined()
    expect(await codeOf(() => session.createTopic('other', { queue: { deadLetterTopic: 'none' } }))).toBe(
      undefined,
    )
  })
})

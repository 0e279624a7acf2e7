/** Overflow policies as the client's callers see them: over every link, with handlers that stand still. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EmbeddedBroker } from '../composition/embedded-broker.ts'
import type { Client } from './client.ts'
import type { SubscriptionGap } from './consume-options.ts'
import { links, startBroker } from './testing/every-link.ts'

const count = 300
const payload = new Uint8Array(64 * 1024)

describe.each(links)('a subscription that falls behind, over %s', (_name, setup) => {
  let broker: EmbeddedBroker
  let client: Client

  beforeEach(async () => {
    broker = await startBroker(setup.transports())
    client = await setup.client(broker)
    await client.createTopic('orders')
  })

  afterEach(async () => {
    await client.close()
    await broker.stop()
  })

  /** Publishes while the handler of a subscription stands at its first message. */
  async function behind(policy: 'dropOldest' | 'disconnect') {
    const held = Promise.withResolvers<void>()
    const gaps: SubscriptionGap[] = []
    const offsets: number[] = []
    const last = Promise.withResolvers<void>()
    const subscription = await client.subscribe(
      'orders',
      async ({ offset }) => {
        offsets.push(offset)
        if (offset === count - 1) last.resolve()
        await held.promise
      },
      {
        prefetchBytes: payload.length,
        overflow: { policy, messagesMax: 10 },
        onGap: (gap) => void gaps.push(gap),
      },
    )
    for (let i = 0; i < count; i++) await broker.publish('orders', payload)
    return { held, gaps, offsets, last, subscription }
  }

  it('tells onGap of all that its handler does not get', async () => {
    const { held, gaps, offsets, last, subscription } = await behind('dropOldest')
    held.resolve()
    await last.promise
    expect(gaps.length).toBeGreaterThan(0)
    const missing = gaps.flatMap(({ expectedOffset, offset }) =>
      Array.from({ length: offset - expectedOffset }, (_, i) => expectedOffset + i),
    )
    expect([...offsets, ...missing].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i))
    expect(new Set(gaps.map(({ reason }) => reason))).toEqual(new Set(['overflow']))
    expect((await client.brokerStats()).messagesDropped).toBe(missing.length)
    await subscription.close()
  })

  it('ends when it is disconnected, and says why', async () => {
    const { held, subscription } = await behind('disconnect')
    held.resolve()
    expect((await subscription.closed)?.code).toBe('RTK_SUBSCRIBER_TOO_SLOW')
  })
})

import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import type { LeasedBatch, LeaseSink, MaybePromise } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { LeaseInbox } from './lease-inbox.ts'

const batch = (lease: number): LeasedBatch => ({
  partition: 0,
  lease,
  bytes: new Uint8Array(0),
  recordCount: 1,
  firstOffset: lease,
  lastOffset: lease,
  attempt: 1,
  redelivered: false,
  leaseMs: 1_000,
})
const range = (lease: number) => ({ partition: 0, lease, from: lease, to: lease + 1 })

/** An inbox, what its sink was told, and what it did when the sink failed. */
function rig(deliver: (batch: LeasedBatch, inbox: LeaseInbox) => MaybePromise<void> = () => undefined) {
  const log: string[] = []
  const clock = new ManualClock()
  const sink: LeaseSink = {
    deliver(given) {
      log.push(`${given.lease} for ${given.leaseMs} ms`)
      return deliver(given, inbox)
    },
    lost: (ranges, reason) => log.push(`lost ${ranges.map(({ lease }) => lease)} ${reason}`),
    assigned: (partitions) => log.push(`assigned ${partitions}`),
    ended: (reason) => log.push(`ended ${reason?.code}`),
  }
  const inbox: LeaseInbox = new LeaseInbox(sink, clock, ({ code }) => log.push(`failed ${code}`))
  return { inbox, log, clock }
}

describe('an inbox of leases', () => {
  it('keeps deliveries while the sink is full, and tells how long their leases still last', async () => {
    const full = Promise.withResolvers<void>()
    const { inbox, log, clock } = rig(() => full.promise)
    inbox.assigned([0])
    inbox.deliver(batch(1))
    inbox.deliver(batch(2))
    await clock.advance(400)
    expect(log).toEqual(['assigned 0', '1 for 1000 ms'])
    full.resolve()
    await full.promise
    expect(log).toEqual(['assigned 0', '1 for 1000 ms', '2 for 600 ms'])
    expect(new Set(log).size).toBe(3)
  })

  it('tells a full sink what it lost, and of what it was not given yet only after that', async () => {
    const full = Promise.withResolvers<void>()
    const { inbox, log } = rig(() => full.promise)
    inbox.deliver(batch(1))
    inbox.deliver(batch(2))
    inbox.lost([range(1), range(2)], 'timeout')
    expect(log).toEqual(['1 for 1000 ms', 'lost 1 timeout'])
    full.resolve()
    await full.promise
    expect(log).toEqual(['1 for 1000 ms', 'lost 1 timeout', '2 for 1000 ms', 'lost 2 timeout'])
  })

  it('never calls a sink that is in a call', () => {
    const { inbox, log } = rig((given, self) => {
      if (given.lease > 1) return
      self.deliver(batch(2))
      self.lost([range(1)], 'order')
      log.push('returns')
    })
    inbox.deliver(batch(1))
    expect(log).toEqual(['1 for 1000 ms', 'returns', 'lost 1 order', '2 for 1000 ms'])
  })

  it('tells the end after what came before it, once, and nothing after it', () => {
    const { inbox, log } = rig()
    inbox.deliver(batch(1))
    inbox.ended(new RatatoskrError('RTK_LEASE_LOST', 'silent'))
    inbox.ended(undefined)
    inbox.end(undefined)
    inbox.deliver(batch(2))
    inbox.lost([range(1)], 'timeout')
    expect(log).toEqual(['1 for 1000 ms', 'ended RTK_LEASE_LOST'])
  })

  it('drops what waits when it is closed, also from within the sink', async () => {
    const full = Promise.withResolvers<void>()
    const { inbox, log } = rig((given, self) => {
      if (given.lease === 1) return full.promise
      self.end(undefined)
    })
    inbox.deliver(batch(1))
    inbox.deliver(batch(2))
    inbox.deliver(batch(3))
    full.resolve()
    await full.promise
    expect(log).toEqual(['1 for 1000 ms', '2 for 1000 ms', 'ended undefined'])
  })

  it.each([
    [
      'throws',
      () => {
        throw new RatatoskrError('RTK_INTERNAL', 'the sink')
      },
    ],
    ['rejects', () => Promise.reject(new RatatoskrError('RTK_INTERNAL', 'the sink'))],
  ])('ends with the error of a sink that %s', async (_, deliver) => {
    const { inbox, log } = rig(deliver)
    inbox.deliver(batch(1))
    inbox.deliver(batch(2))
    await Promise.resolve()
    await Promise.resolve()
    expect(log.filter((line) => !line.startsWith('failed'))).toEqual(['1 for 1000 ms', 'ended RTK_INTERNAL'])
    expect(log).toContain('failed RTK_INTERNAL')
  })
})

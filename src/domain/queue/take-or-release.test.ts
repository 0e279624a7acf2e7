import { describe, expect, it } from 'vitest'
import { takeOrRelease } from './take-or-release.ts'

const batch = (lease: number) => ({ partition: 2, lease, firstOffset: 5, lastOffset: 7 })

/** Takes batches of these leases for a caller who is gone, or not, when they are there. */
async function take(leases: readonly number[], gone: boolean) {
  const abort = new AbortController()
  const settled: unknown[] = []
  const queues = {
    async take(_topic: string, _request: { readonly group: string }, _call: object) {
      if (gone) abort.abort()
      return { member: 'one', batches: leases.map(batch) }
    },
    settle: (topic: string, request: object) => settled.push(topic, request),
  }
  const taken = takeOrRelease(queues, 'orders', { group: 'work' }, abort.signal)
  const outcome = await taken.catch((error: { readonly code: string }) => error.code)
  return { outcome, settled }
}

describe('taking for a caller', () => {
  it('who waits gives him what was taken', async () => {
    const { outcome, settled } = await take([9], false)
    expect(outcome).toEqual({ member: 'one', batches: [batch(9)] })
    expect(settled).toEqual([])
  })

  it('who is gone releases what was taken', async () => {
    const { outcome, settled } = await take([9, 0], true)
    expect(outcome).toBe('RTK_CANCELLED')
    const release = { action: 'release', partition: 2, lease: 9, from: 5, to: 8 }
    expect(settled).toEqual(['orders', { group: 'work', settlements: [release] }])
  })

  it('who is gone and wanted no leases cannot give anything back', async () => {
    const { outcome, settled } = await take([0], true)
    expect(outcome).toMatchObject({ batches: [batch(0)] })
    expect(settled).toEqual([])
  })
})

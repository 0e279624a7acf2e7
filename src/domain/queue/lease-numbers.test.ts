import fc from 'fast-check'
import { expect, it } from 'vitest'
import { type LeaseNumbers, leasesPerEpoch, nextLeaseNumbers } from './lease-numbers.ts'

const first = ({ epoch, given }: LeaseNumbers): number => epoch * leasesPerEpoch + given + 1
const startMs = Date.UTC(2026, 10, 21)

it('an epoch is greater than the stored one, whatever the clock says, and its numbers are exact', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 30), fc.double(), (stored, wallMs) => {
      const next = nextLeaseNumbers(stored, wallMs)
      expect(next.epoch).toBeGreaterThan(stored)
      expect(next.given).toBeGreaterThanOrEqual(0)
      expect(next.given).toBeLessThanOrEqual(leasesPerEpoch / 2)
      expect(Number.isSafeInteger(first(next) + leasesPerEpoch)).toBe(true)
    }),
  )
})

it('a life that begins a millisecond later, with nothing stored, has greater numbers for 2,000 leases', () => {
  fc.assert(
    fc.property(fc.nat(10_000_000), (afterMs) => {
      const one = nextLeaseNumbers(0, startMs + afterMs)
      const other = nextLeaseNumbers(0, startMs + afterMs + 1)
      expect(first(other)).toBeGreaterThan(first(one) + 2_000)
    }),
  )
})

it('a clock that is centuries ahead, or before the first second, uses up no more than one epoch', () => {
  for (const wallMs of [Date.UTC(2925, 0, 1), Date.UTC(2024, 0, 1), 0, -1e15, 1e300, Number.NaN])
    expect(nextLeaseNumbers(7, wallMs)).toEqual({ epoch: 8, given: 0 })
})

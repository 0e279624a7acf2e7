/**
 * The numbers of leases, which serve as fencing tokens: whoever guards something by them refuses a smaller one than it has
 * seen. So they rise over the lives of a partition's lease table, for each life has an epoch of its own, greater than the
 * one before, and the epoch is the upper part of the number.
 *
 * What is stored may go back, when an older state is put back, or be gone, when a group is deleted and created again. So an
 * epoch is also at least the present time in seconds, and counting begins where the second stands: a life that begins later
 * has greater numbers than those that nobody knows of, as long as there was no more than one life a second among them, and
 * no more than two million leases. It is bounded, for a clock that is far ahead must not use up the numbers: from there on
 * it is the stored epoch alone that makes them rise.
 */

/** Leases of one epoch: 31 bits are left for the epoch, as a number is exact to 53. */
export const leasesPerEpoch = 2 ** 22
/** From here on the next epoch is stored, before the leases of this one are used up. */
export const leasesBeforeNext = leasesPerEpoch * 0.75

/** 2025-01-01, before which no group was made. */
const firstSecond = 1_735_689_600
/** Half of the epochs there are, in 2059; the other half is for restarts. */
const clockEpochMax = 2 ** 30

/** Where a life of a lease table begins to number its leases. */
export interface LeaseNumbers {
  readonly epoch: number
  /** Leases of the epoch that count as given. */
  readonly given: number
}

/**
 * Where the next life begins.
 * @param storedEpoch the greatest of the lives before, as far as anybody knows; 0 when there were none
 * @param wallMs Unix milliseconds
 */
export function nextLeaseNumbers(storedEpoch: number, wallMs: number): LeaseNumbers {
  const sinceMs = wallMs - firstSecond * 1000
  const clockEpoch = Math.floor(sinceMs / 1000)
  if (clockEpoch > storedEpoch && clockEpoch <= clockEpochMax) {
    const partOfSecond = sinceMs / 1000 - clockEpoch
    return { epoch: clockEpoch, given: Math.floor((partOfSecond * leasesPerEpoch) / 2) }
  }
  return { epoch: storedEpoch + 1, given: 0 }
}

/**
 * Who gets which partition: balanced (numbers differ by one at most) and sticky (a partition changes hands only when
 * balance demands it), so that a rebalance pauses moved partitions alone. Pure, and the same for the same input.
 */

/**
 * @param partitions how many there are
 * @param members in the order in which they joined
 * @param previous owner of each partition so far; whoever is not among `members` is gone
 * @returns owner of each partition; all undefined when there are no members
 */
export function assignPartitions<Member>(
  partitions: number,
  members: readonly Member[],
  previous: readonly (Member | undefined)[],
): (Member | undefined)[] {
  const owners = new Array<Member | undefined>(partitions).fill(undefined)
  if (members.length === 0) return owners
  const counts = new Map<Member, number>(members.map((member) => [member, 0]))
  const free = keepWithinQuota(owners, counts, previous)
  // Members with the least first; each then takes what brings it to its quota, those with one more at the end.
  const quota = Math.floor(partitions / members.length)
  let next = 0
  for (const share of [quota, quota + 1]) {
    for (const member of members) {
      let count = counts.get(member) ?? 0
      while (count < share && next < free.length) {
        owners[free[next++]] = member
        count++
      }
      counts.set(member, count)
    }
  }
  return owners
}

/** Leaves partitions where they are as far as balance allows. @returns those that are free */
function keepWithinQuota<Member>(
  owners: (Member | undefined)[],
  counts: Map<Member, number>,
  previous: readonly (Member | undefined)[],
): number[] {
  const quota = Math.floor(owners.length / counts.size)
  let largerShares = owners.length % counts.size
  const free: number[] = []
  for (let partition = 0; partition < owners.length; partition++) {
    const owner = previous[partition]
    const count = owner === undefined ? undefined : counts.get(owner)
    const keeps = count !== undefined && (count < quota || (count === quota && largerShares > 0))
    if (owner === undefined || count === undefined || !keeps) {
      free.push(partition)
      continue
    }
    if (count === quota) largerShares--
    owners[partition] = owner
    counts.set(owner, count + 1)
  }
  return free
}

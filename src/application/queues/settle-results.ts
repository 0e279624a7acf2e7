/** What the settlements of one call are answered with: where something was lost, why. */
import type { SettleCounts } from '../../domain/queue/lease-types.ts'
import { RatatoskrError, type Settlement, type SettleResult } from '../../ports/index.ts'

/** More of one call share one error: an error each, with a stack, would hold up the event loop and make the answer long. */
const describedMax = 100

/** Settles in order. @param settle what settles one of them */
export function settleAll(
  settlements: readonly Settlement[],
  settle: (settlement: Settlement) => SettleCounts,
): readonly SettleResult[] {
  let described = 0
  let others: RatatoskrError | undefined
  return settlements.map((settlement) => {
    const counts = settle(settlement)
    if (counts.lost === 0) return undefined
    if (described++ < describedMax) return lossOf(settlement, counts)
    others ??= new RatatoskrError('RTK_LEASE_LOST', 'messages are not held with this lease any more')
    return others
  })
}

function lossOf({ partition, lease, from, to }: Settlement, { settled, lost }: SettleCounts): RatatoskrError {
  return new RatatoskrError(
    'RTK_LEASE_LOST',
    `${lost} of ${settled + lost} messages of partition ${partition} are not held with lease ${lease} any more`,
    { details: { partition, from, to, lease, settled } },
  )
}

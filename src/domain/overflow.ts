/**
 * What becomes of a subscriber who does not keep up: the policies, their bounds, and how many messages a bound leaves him.
 */
import { RatatoskrError } from './errors.ts'

/**
 * What happens when a subscriber without a group is further behind than its bound while it takes nothing:
 * - `pause`: nothing; it goes on where it stands, however much there is by then
 * - `dropOldest`: it goes on with the newest messages, as many as the bound allows
 * - `dropNewest`: it gets what was within the bound, and then goes on with what is published once it has caught up
 * - `disconnect`: it is ended with RTK_SUBSCRIBER_TOO_SLOW
 */
export const overflowPolicies = ['pause', 'dropOldest', 'dropNewest', 'disconnect'] as const

/** The name of a policy. */
export type OverflowPolicy = (typeof overflowPolicies)[number]

/**
 * How far a subscriber may fall behind, in each partition by itself, and what happens beyond it. It counts as behind only
 * while it takes nothing: its credit is used up or too small for the next batch, or its sink is full. Every policy but
 * `pause` needs a bound; of two, the one that is reached first counts.
 */
export interface Overflow {
  readonly policy: OverflowPolicy
  /** Messages of a partition that it may be behind. */
  readonly messagesMax?: number | undefined
  /** The same in bytes as stored, reckoned by the mean size of the partition's messages; one message is always allowed. */
  readonly bytesMax?: number | undefined
}

/** @throws RTK_INVALID_ARGUMENT */
export function checkOverflow({ policy, messagesMax, bytesMax }: Overflow): void {
  if (!overflowPolicies.includes(policy)) {
    throw invalid(`overflow.policy must be one of ${overflowPolicies.join(', ')}, got ${String(policy)}`)
  }
  for (const [name, value] of Object.entries({ messagesMax, bytesMax })) {
    if (value === undefined || (Number.isSafeInteger(value) && value >= 1)) continue
    throw invalid(`overflow.${name} must be a whole number of at least 1, got ${String(value)}`)
  }
  const bounded = messagesMax !== undefined || bytesMax !== undefined
  if (policy === 'pause' && bounded) throw invalid('the overflow policy pause has no bounds: leave them out')
  if (policy !== 'pause' && !bounded) {
    throw invalid(`the overflow policy ${policy} needs a bound: messagesMax or bytesMax`)
  }
}

/** Messages that the bounds allow in a log of this size: 0 never. */
export function messagesAllowed(
  { messagesMax = Number.POSITIVE_INFINITY, bytesMax }: Overflow,
  log: { readonly sizeBytes: number; readonly messages: number },
): number {
  if (bytesMax === undefined || log.sizeBytes <= 0) return messagesMax
  return Math.min(messagesMax, Math.max(1, Math.floor((bytesMax * log.messages) / log.sizeBytes)))
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

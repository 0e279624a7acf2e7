/** What is told of a queue group's messages: members of the leases that they lose, and observers of that and of settlements. */
import type { Loss } from '../../domain/queue/lease-types.ts'
import type { LeaseRange, Settlement } from '../../ports/index.ts'
import type { Hooks } from '../seams.ts'
import type { QueueMember } from './queue-member.ts'

/** The group, as events name it. */
export interface EventSource {
  readonly topic: { readonly text: string }
  readonly group: string
  readonly hooks: Hooks
}

/** Tells the holders of leases that they are lost. @param memberOf by the number that lease tables know it by */
export function tellLosses(
  { topic, group, hooks }: EventSource,
  partition: number,
  losses: readonly Loss[],
  memberOf: (number: number) => QueueMember | undefined,
): void {
  const byHolder = new Map<string, { member: QueueMember; reason: Loss['reason']; ranges: LeaseRange[] }>()
  for (const { member: number, lease, from, to, reason } of losses) {
    const member = memberOf(number)
    if (member === undefined) continue
    if (hooks.observes('messageLeaseLost')) {
      const event = { topic: topic.text, partition, group, reason, member: member.name }
      hooks.emit('messageLeaseLost', { ...event, fromOffset: from, toOffset: to })
    }
    const key = `${number} ${reason}`
    const told = byHolder.get(key) ?? { member, reason, ranges: [] }
    told.ranges.push({ partition, lease, from, to })
    byHolder.set(key, told)
  }
  // What comes before another message of its key is told after it: nobody may take the later one to be next.
  const rank = ({ reason }: { readonly reason: Loss['reason'] }): number => (reason === 'order' ? 0 : 1)
  const told = [...byHolder.values()].sort((a, b) => rank(a) - rank(b))
  for (const { member, ranges, reason } of told) member.lost(ranges, reason)
}

/** Tells observers what a member said of messages. @param attempt which delivery it was, for `nack` */
export function tellSettled(
  { topic, group, hooks }: EventSource,
  partition: number,
  { action, from, to, reason }: Pick<Settlement, 'action' | 'from' | 'to' | 'reason'>,
  attempt: number,
): void {
  const place = { topic: topic.text, partition, group, fromOffset: from }
  if (action === 'ack' && hooks.observes('messageAcked')) {
    hooks.emit('messageAcked', { ...place, offset: to })
  } else if (action === 'nack' && hooks.observes('messageRetried')) {
    hooks.emit('messageRetried', { ...place, toOffset: to, attempt, reason })
  }
}

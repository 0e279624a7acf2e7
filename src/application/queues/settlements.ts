/** Checks what members say of their messages before any of it is done. */

import { retryDelayMsMax } from '../../domain/queue/retry-policy.ts'
import { type Limits, RatatoskrError, type Settlement, settlementActions } from '../../ports/index.ts'
import type { QueueGroup } from './queue-group.ts'

/** @throws RTK_INVALID_ARGUMENT, RTK_PARTITION_NOT_FOUND, RTK_LIMIT_EXCEEDED */
export function assertSettlements(
  settlements: readonly Settlement[],
  group: QueueGroup,
  { settlementsPerCallMax }: Limits,
): void {
  if (!Array.isArray(settlements)) throw invalid('settlements must be a list')
  if (settlements.length > settlementsPerCallMax) {
    throw new RatatoskrError(
      'RTK_LIMIT_EXCEEDED',
      `one call holds at most ${settlementsPerCallMax} settlements (settlementsPerCallMax), got ${settlements.length}`,
    )
  }
  for (const settlement of settlements) assertSettlement(settlement, group)
}

function assertSettlement(settlement: Settlement, group: QueueGroup): void {
  const { partition, lease, from, to, action, delayMs, extendMs, reason } = settlement
  if (!(settlementActions as readonly unknown[]).includes(action)) {
    throw invalid(`action must be one of ${settlementActions.join(', ')}, got ${String(action)}`)
  }
  assertCount('lease', lease)
  assertCount('from', from)
  assertCount('to', to)
  if (to < from) throw invalid(`to must be at least from, ${from}, got ${to}`)
  if (delayMs !== undefined) assertTime('delayMs', delayMs, 0)
  if (extendMs !== undefined) assertTime('extendMs', extendMs, 1)
  if (reason !== undefined && typeof reason !== 'string') {
    throw invalid(`reason must be a string, got ${typeof reason}`)
  }
  if (!Number.isSafeInteger(partition) || group.partitions[partition] === undefined) {
    throw new RatatoskrError(
      'RTK_PARTITION_NOT_FOUND',
      `the topic has partitions 0 to ${group.partitions.length - 1}, got ${String(partition)}`,
    )
  }
}

function assertCount(name: string, value: unknown): void {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return
  throw invalid(`${name} must be a whole number of at least 0, got ${String(value)}`)
}

function assertTime(name: string, value: unknown, min: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= retryDelayMsMax) return
  throw invalid(`${name} must be a whole number from ${min} to ${retryDelayMsMax}, got ${String(value)}`)
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

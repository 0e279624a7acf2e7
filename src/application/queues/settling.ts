/** What becomes of the settlements of members: their leases end, last longer, or are known to be worked on, and retries get their times. */
import type { LeaseTable } from '../../domain/queue/lease-table.ts'
import type { SettleCounts } from '../../domain/queue/lease-types.ts'
import { retryDelayMs } from '../../domain/queue/retry-policy.ts'
import type { Settlement } from '../../ports/index.ts'
import type { PartitionHost } from './partition-host.ts'

/** What is needed of the partition. */
interface SettlingHost {
  readonly index: number
  readonly host: PartitionHost
  /** To be called when the lease table was changed. @param reason what was said of messages that fail by it */
  afterwards(reason?: string): void
  schedule(): void
}

export class Settling {
  readonly #parts: SettlingHost

  constructor(parts: SettlingHost) {
    this.#parts = parts
  }

  /** @param table undefined while there is none: then nothing is held */
  settle(table: LeaseTable | undefined, settlement: Settlement): SettleCounts {
    const { action, lease, from, to } = settlement
    if (table === undefined || lease === 0) return { settled: 0, repeated: 0, lost: to - from }
    const { host, afterwards } = this.#parts
    const nowMs = host.nowMs()
    if (action === 'extend') {
      const counts = table.extend(lease, from, to, nowMs + (settlement.extendMs ?? host.config.ackTimeoutMs))
      if (counts.settled > 0) afterwards()
      return counts
    }
    if (action === 'begin') {
      const counts = table.begin(lease, from, to)
      if (counts.settled > 0) afterwards()
      return counts
    }
    if (action === 'ackUpTo') return this.#ackUpTo(table, settlement, nowMs)
    const attempt = action === 'nack' ? table.attemptOf(lease) : 0
    const delayMs = action === 'nack' ? this.#retryDelayMs(settlement, attempt) : undefined
    const counts = table.settle(action, lease, from, to, nowMs, delayMs)
    if (counts.settled === 0) return counts
    host.settled(this.#parts.index, settlement, attempt)
    afterwards(settlement.reason)
    this.#parts.schedule()
    return counts
  }

  /** The lease on the last message is the proof: whoever lost it may not speak for the ones before. */
  #ackUpTo(table: LeaseTable, { lease, to }: Settlement, nowMs: number): SettleCounts {
    if (to === 0) return { settled: 0, repeated: 0, lost: 0 }
    const member = table.holderOf(lease)
    const last = table.settle('ack', lease, to - 1, to, nowMs)
    if (last.lost > 0) return last
    const { index, host, afterwards, schedule } = this.#parts
    const settled = last.settled + table.ackUpTo(member, to, nowMs)
    if (settled > 0) host.settled(index, { action: 'ack', from: to - 1, to }, 0)
    afterwards()
    schedule()
    return { ...last, settled }
  }

  #retryDelayMs({ delayMs }: Settlement, attempt: number): number {
    const { config, random } = this.#parts.host
    return delayMs ?? retryDelayMs(config.retry, attempt, random.next())
  }
}

/** Between the messages of `QueueService` and the plain data of the broker's facade, for the server's side. */
import type {
  LeasedBatch,
  LeaseLossReason,
  QueueCredit,
  QueueDescription,
  Settlement,
  SettlementAction,
  SettleResult,
} from 'ratatoskr/ports'
import { RatatoskrError, settlementActions } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { textOf } from './convert.ts'
import { queueConfigToProto } from './queue-config-convert.ts'
import { errorToProto } from './status.ts'

const actionNumbers = {
  ack: proto.SettlementAction.SETTLEMENT_ACTION_ACK,
  nack: proto.SettlementAction.SETTLEMENT_ACTION_NACK,
  extend: proto.SettlementAction.SETTLEMENT_ACTION_EXTEND,
  terminate: proto.SettlementAction.SETTLEMENT_ACTION_TERMINATE,
  release: proto.SettlementAction.SETTLEMENT_ACTION_RELEASE,
  ackUpTo: proto.SettlementAction.SETTLEMENT_ACTION_ACK_UP_TO,
  begin: proto.SettlementAction.SETTLEMENT_ACTION_BEGIN,
} as const satisfies Record<SettlementAction, proto.SettlementAction>

const lossReasonNumbers = {
  timeout: proto.LeaseLossReason.LEASE_LOSS_REASON_TIMEOUT,
  order: proto.LeaseLossReason.LEASE_LOSS_REASON_ORDER,
  seek: proto.LeaseLossReason.LEASE_LOSS_REASON_SEEK,
  moved: proto.LeaseLossReason.LEASE_LOSS_REASON_MOVED,
} as const satisfies Record<LeaseLossReason, proto.LeaseLossReason>

export const lossReasonToProto = (reason: LeaseLossReason): proto.LeaseLossReason => lossReasonNumbers[reason]

/** @throws RTK_INVALID_ARGUMENT */
export const settlementsFromProto = (settlements: readonly proto.Settlement[]): Settlement[] =>
  settlements.map(({ action, partition, lease, from, to, delayMs, extendMs, reason }) => ({
    action: actionFromProto(action),
    partition,
    lease,
    from,
    to,
    delayMs,
    extendMs,
    reason: textOf(reason),
  }))

function actionFromProto(value: proto.SettlementAction): SettlementAction {
  const action = settlementActions.find((one) => actionNumbers[one] === value)
  if (action !== undefined) return action
  throw invalid(`action must be 1 to 7 (see ratatoskr.v1.SettlementAction), got ${value}`)
}

export const settleResultsToProto = (results: readonly SettleResult[]): proto.SettleResult[] =>
  results.map((error) => ({ error: error === undefined ? undefined : errorToProto(error) }))

/** @throws RTK_INVALID_ARGUMENT when it is negative */
export function creditFromProto({ messages, bytes }: proto.LeaseCredit): QueueCredit {
  for (const [unit, amount] of Object.entries({ messages, bytes })) {
    if (amount !== undefined && amount < 0) {
      throw invalid(`credit must not be negative, got ${amount} ${unit}; grant only what was used up`)
    }
  }
  return { messages, bytes }
}

/** A leased batch, its record batches as they are. */
export const leasedToProto = (batch: LeasedBatch): proto.LeasedBatch => ({
  partition: batch.partition,
  lease: batch.lease,
  recordCount: batch.recordCount,
  firstOffset: batch.firstOffset,
  lastOffset: batch.lastOffset,
  attempt: batch.attempt,
  redelivered: batch.redelivered,
  leaseMs: Math.floor(batch.leaseMs),
  batches: batch.bytes,
  messages: [],
})

export const queueToProto = (queue: QueueDescription): proto.Queue => ({
  topic: queue.topic,
  group: queue.group,
  stable: queue.state === 'stable',
  paused: queue.paused,
  config: queueConfigToProto(queue.config),
  members: queue.members.map(({ member, partitions, inFlight }) => ({
    member,
    partitions: [...partitions],
    inFlight,
  })),
  partitions: queue.partitions.map((partition) => ({ ...partition })),
  lag: queue.lag,
})

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

/** Between the messages of `QueueService` and the plain data of the broker's facade, for the server's side. */
import type {
  LeasedBatch,
  LeaseLossReason,
  QueueConfig,
  QueueCredit,
  QueueDescription,
  RetryPolicy,
  Settlement,
  SettlementAction,
  SettleResult,
  Sharing,
} from 'ratatoskr/ports'
import { RatatoskrError, settlementActions, sharings } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { textOf } from './convert.ts'
import { errorToProto } from './status.ts'

const sharingNumbers = {
  partitioned: proto.Sharing.SHARING_PARTITIONED,
  shared: proto.Sharing.SHARING_SHARED,
  keyShared: proto.Sharing.SHARING_KEY_SHARED,
} as const satisfies Record<Sharing, proto.Sharing>

const actionNumbers = {
  ack: proto.SettlementAction.SETTLEMENT_ACTION_ACK,
  nack: proto.SettlementAction.SETTLEMENT_ACTION_NACK,
  extend: proto.SettlementAction.SETTLEMENT_ACTION_EXTEND,
  terminate: proto.SettlementAction.SETTLEMENT_ACTION_TERMINATE,
  release: proto.SettlementAction.SETTLEMENT_ACTION_RELEASE,
} as const satisfies Record<SettlementAction, proto.SettlementAction>

const lossReasonNumbers = {
  timeout: proto.LeaseLossReason.LEASE_LOSS_REASON_TIMEOUT,
  order: proto.LeaseLossReason.LEASE_LOSS_REASON_ORDER,
  seek: proto.LeaseLossReason.LEASE_LOSS_REASON_SEEK,
  moved: proto.LeaseLossReason.LEASE_LOSS_REASON_MOVED,
} as const satisfies Record<LeaseLossReason, proto.LeaseLossReason>

export const lossReasonToProto = (reason: LeaseLossReason): proto.LeaseLossReason => lossReasonNumbers[reason]

/** Only the settings that are set; undefined without any message. @throws RTK_INVALID_ARGUMENT */
export function queueConfigFromProto(
  config: proto.QueueConfig | undefined,
): Partial<QueueConfig> | undefined {
  if (config === undefined) return undefined
  const { sharing, retry, ...rest } = config
  const set = Object.entries(rest).filter(([, value]) => value !== undefined)
  return {
    ...(Object.fromEntries(set) as Partial<QueueConfig>),
    ...(sharing !== proto.Sharing.SHARING_UNSPECIFIED && { sharing: sharingFromProto(sharing) }),
    ...(retry !== undefined && { retry: retryFromProto(retry) }),
  }
}

function sharingFromProto(value: proto.Sharing): Sharing {
  const sharing = sharings.find((one) => sharingNumbers[one] === value)
  if (sharing !== undefined) return sharing
  throw invalid(`sharing must be 0 to 3 (see ratatoskr.v1.Sharing), got ${value}`)
}

function retryFromProto({ fixed, linear, exponential, list }: proto.RetryPolicy): RetryPolicy {
  if (fixed !== undefined) return { kind: 'fixed', ...fixed }
  if (linear !== undefined) return { kind: 'linear', ...linear }
  if (exponential !== undefined) return { kind: 'exponential', ...exponential }
  if (list !== undefined) return { kind: 'list', ...list }
  throw invalid('retry must be one of fixed, linear, exponential and list; leave it out for the default')
}

export const queueConfigToProto = ({ sharing, retry, ...rest }: QueueConfig): proto.QueueConfig => ({
  ...rest,
  sharing: sharingNumbers[sharing],
  retry: retryToProto(retry),
})

function retryToProto(retry: RetryPolicy): proto.RetryPolicy {
  switch (retry.kind) {
    case 'fixed':
      return { fixed: { delayMs: retry.delayMs } }
    case 'linear':
      return { linear: { delayMs: retry.delayMs, maxMs: retry.maxMs } }
    case 'exponential':
      return { exponential: { delayMs: retry.delayMs, maxMs: retry.maxMs, jitter: retry.jitter } }
    case 'list':
      return { list: { delaysMs: [...retry.delaysMs] } }
  }
}

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
  throw invalid(`action must be 1 to 5 (see ratatoskr.v1.SettlementAction), got ${value}`)
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

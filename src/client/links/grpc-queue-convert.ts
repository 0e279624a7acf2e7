/** Between the plain data of a link and the messages of `QueueService`, for the client's side. */
import * as proto from '../../../proto/index.ts'
import {
  assertLabel,
  type ConsumeOptions,
  type LeasedBatch,
  type LeaseLossReason,
  type QueueCredit,
  type QueueDescription,
  quoteForMessage,
  RatatoskrError,
  type Settlement,
  type SettleResult,
  settlementActions,
} from '../../ports/index.ts'
import { positionToProto } from './grpc-convert.ts'
import { errorFromProto } from './grpc-errors.ts'
import { queueConfigFromProto, queueConfigToProto } from './grpc-queue-config.ts'

const actionNumbers = {
  ack: proto.SettlementAction.SETTLEMENT_ACTION_ACK,
  nack: proto.SettlementAction.SETTLEMENT_ACTION_NACK,
  extend: proto.SettlementAction.SETTLEMENT_ACTION_EXTEND,
  terminate: proto.SettlementAction.SETTLEMENT_ACTION_TERMINATE,
  release: proto.SettlementAction.SETTLEMENT_ACTION_RELEASE,
  ackUpTo: proto.SettlementAction.SETTLEMENT_ACTION_ACK_UP_TO,
  begin: proto.SettlementAction.SETTLEMENT_ACTION_BEGIN,
} as const satisfies Record<Settlement['action'], proto.SettlementAction>

const lossReasons: readonly (LeaseLossReason | undefined)[] = [undefined, 'timeout', 'order', 'seek', 'moved']

/** What is lost for a reason of a later version is lost all the same. */
export const lossReasonFromProto = (value: number): LeaseLossReason => lossReasons[value] ?? 'moved'

/** @throws RTK_INVALID_ARGUMENT for what is no whole number: it could not be written, which would end the stream */
export const creditToProto = ({ messages, bytes }: QueueCredit): proto.LeaseCredit => ({
  messages: optionalWhole('messages', messages),
  bytes: optionalWhole('bytes', bytes),
})

/** What joining and taking have in common. */
export const memberToProto = (
  topic: string,
  { group, member, from, config, autoAck }: Omit<ConsumeOptions, 'credit' | 'begins'>,
): Omit<proto.OpenLeases, 'credit' | 'begins'> => ({
  topic,
  group: label(group),
  member: member ?? '',
  from: from === undefined ? undefined : positionToProto(from),
  config: config === undefined ? undefined : queueConfigToProto(config),
  autoAck: autoAck ?? false,
  format: proto.DeliveryFormat.DELIVERY_FORMAT_BATCHES,
})

/** @throws RTK_INVALID_ARGUMENT for an action that does not exist, and for what is no whole number */
export const settlementsToProto = (settlements: readonly Settlement[]): proto.Settlement[] =>
  settlements.map(({ action, partition, lease, from, to, delayMs, extendMs, reason = '' }) => {
    const number = actionNumbers[action]
    if (number === undefined) {
      throw invalid(`action must be one of ${settlementActions.join(', ')}, got ${quoteForMessage(action)}`)
    }
    return {
      action: number,
      partition: whole('partition', partition),
      lease: whole('lease', lease),
      from: whole('from', from),
      to: whole('to', to),
      delayMs: optionalWhole('delayMs', delayMs),
      extendMs: optionalWhole('extendMs', extendMs),
      reason,
    }
  })

/** @throws RTK_INVALID_ARGUMENT for what is no name: protobuf would make a text of it */
function label(group: string): string {
  assertLabel('group', group)
  return group
}

function whole(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw invalid(`${name} must be a whole number of at least 0, got ${quoteForMessage(value)}`)
}

const optionalWhole = (name: string, value: number | undefined): number | undefined =>
  value === undefined ? undefined : whole(name, value)

/** @throws RTK_FRAME_MALFORMED when they are not so many */
export function settleResultsFromProto(
  results: readonly proto.SettleResult[],
  count: number,
): SettleResult[] {
  if (results.length !== count) throw malformed(`the broker did not answer each of ${count} settlements`)
  return results.map(({ error }) => (error === undefined ? undefined : errorFromProto(error)))
}

export function leasedFromProto(leased: proto.LeasedBatch): LeasedBatch {
  const { batches, messages: _messages, ...rest } = leased
  return { ...rest, bytes: batches }
}

/** @throws RTK_FRAME_MALFORMED */
export function queueFromProto(queue: proto.Queue | undefined): QueueDescription {
  if (queue === undefined) throw malformed('the broker described a queue group with nothing')
  return {
    topic: queue.topic,
    group: queue.group,
    state: queue.stable ? 'stable' : 'empty',
    paused: queue.paused,
    config: queueConfigFromProto(queue.config),
    members: queue.members,
    partitions: queue.partitions.map(({ member, ...partition }) => ({ ...partition, member })),
    lag: queue.lag,
  }
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)
const malformed = (message: string): RatatoskrError => new RatatoskrError('RTK_FRAME_MALFORMED', message)

/** Dead letters over gRPC. */
import * as proto from '../../../proto/index.ts'
import type {
  CallOptions,
  DeadLetterFilter,
  DeadLetterPage,
  DeadLetterReason,
  DeadLetterRequest,
  PurgeRequest,
  PurgeResult,
  RedriveRequest,
  RedriveResult,
  StoredDeadLetter,
} from '../../ports/index.ts'
import { quoteForMessage, RatatoskrError } from '../../ports/index.ts'
import type { GrpcChannel } from './grpc-channel.ts'

const letters = proto.DeadLetterServiceService

const reasonNumbers = {
  retries: proto.DeadLetterReason.DEAD_LETTER_REASON_RETRIES,
  terminated: proto.DeadLetterReason.DEAD_LETTER_REASON_TERMINATED,
  expired: proto.DeadLetterReason.DEAD_LETTER_REASON_EXPIRED,
} as const satisfies Record<DeadLetterReason, proto.DeadLetterReason>

export async function listOverGrpc(
  channel: GrpcChannel,
  topic: string,
  request: DeadLetterRequest = {},
  call?: CallOptions,
): Promise<DeadLetterPage> {
  const { max, after } = request
  const message = { topic, filter: filterToProto(request), max, after }
  const page = await channel.unary(letters.listDeadLetters, message, call?.signal)
  return { ...page, letters: page.letters.map(letterFromProto) }
}

export function redriveOverGrpc(
  channel: GrpcChannel,
  topic: string,
  request: RedriveRequest = {},
  call?: CallOptions,
): Promise<RedriveResult> {
  const { max, after, target, rate, dryRun = false, force = false, everyGroup = false } = request
  const how = { max, after, target, rate, dryRun, force, everyGroup }
  const message = { topic, filter: filterToProto(request), ...how }
  return channel.unary(letters.redriveDeadLetters, message, call?.signal)
}

export function purgeOverGrpc(
  channel: GrpcChannel,
  topic: string,
  request: PurgeRequest = {},
  call?: CallOptions,
): Promise<PurgeResult> {
  const { max, after } = request
  const message = { topic, filter: filterToProto(request), max, after }
  return channel.unary(letters.purgeDeadLetters, message, call?.signal)
}

/** @throws RTK_INVALID_ARGUMENT for words that do not exist, which would be lost on the way without a word */
function filterToProto(filter: DeadLetterFilter): proto.DeadLetterFilter {
  const { group, reason, match, sinceMs, untilMs, key, ids = [], offsets = [], deadLetterTopic } = filter
  if (reason !== undefined && !Object.hasOwn(reasonNumbers, reason)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `reason must be ${Object.keys(reasonNumbers).join(', ')}; got ${quoteForMessage(reason)}`,
    )
  }
  return {
    group,
    reason: reason === undefined ? 0 : reasonNumbers[reason],
    match,
    sinceMs,
    untilMs,
    key,
    ids: [...ids],
    offsets: [...offsets],
    deadLetterTopic,
  }
}

/** A reason of a later version is a failure all the same. */
function reasonFromProto(value: number): DeadLetterReason {
  const found = Object.entries(reasonNumbers).find(([, number]) => number === value)
  return (found?.[0] as DeadLetterReason | undefined) ?? 'retries'
}

function letterFromProto(letter: proto.DeadLetter): StoredDeadLetter {
  const { topic, sourcePartition, sourceOffset, reason, headers, ...rest } = letter
  return {
    ...rest,
    reason: reasonFromProto(reason),
    source: { topic, partition: sourcePartition, offset: sourceOffset },
    headers: headers.map(({ name, value }) => [name, value]),
  }
}

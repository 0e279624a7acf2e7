/** `DeadLetterService`: dead letters are listed, redriven and purged. */
import type { DeadLetterFilter, DeadLetterReason, StoredDeadLetter } from 'ratatoskr/ports'
import { RatatoskrError } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import type { CallHost } from './calls.ts'
import type { Handlers } from './routes.ts'
import { unary } from './unary-call.ts'

const reasonNumbers = {
  retries: proto.DeadLetterReason.DEAD_LETTER_REASON_RETRIES,
  terminated: proto.DeadLetterReason.DEAD_LETTER_REASON_TERMINATED,
  expired: proto.DeadLetterReason.DEAD_LETTER_REASON_EXPIRED,
} as const satisfies Record<DeadLetterReason, proto.DeadLetterReason>

export const deadLetterService = (host: CallHost): Handlers<proto.DeadLetterServiceService> => ({
  listDeadLetters: unary(host, async (session, { topic, filter, max, after }, call) => {
    const request = { ...filterFromProto(filter), max, after }
    const page = await session.deadLetters(topic, request, { signal: call.signal })
    return { ...page, letters: page.letters.map(letterToProto), next: page.next }
  }),
  redriveDeadLetters: unary(host, async (session, { topic, filter, ...how }, call) => {
    const request = { ...filterFromProto(filter), ...how }
    const result = await session.redriveDeadLetters(topic, request, { signal: call.signal })
    return { ...result, next: result.next }
  }),
  purgeDeadLetters: unary(host, async (session, { topic, filter, max, after }, call) => {
    const request = { ...filterFromProto(filter), max, after }
    const result = await session.purgeDeadLetters(topic, request, { signal: call.signal })
    return { ...result, next: result.next }
  }),
})

function filterFromProto(filter: proto.DeadLetterFilter | undefined): DeadLetterFilter {
  if (filter === undefined) return {}
  const { reason, ids, offsets, ...rest } = filter
  return {
    ...rest,
    ...(reason !== 0 && { reason: reasonFromProto(reason) }),
    ...(ids.length > 0 && { ids }),
    ...(offsets.length > 0 && { offsets }),
  }
}

function reasonFromProto(value: proto.DeadLetterReason): DeadLetterReason {
  for (const [reason, number] of Object.entries(reasonNumbers))
    if (number === value) return reason as DeadLetterReason
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `reason must be 0 to 3 (see ratatoskr.v1.DeadLetterReason), got ${value}`,
  )
}

const letterToProto = ({ reason, source, headers, ...letter }: StoredDeadLetter): proto.DeadLetter => ({
  ...letter,
  firstAtMs: letter.firstAtMs,
  lastAtMs: letter.lastAtMs,
  key: letter.key,
  reason: reasonNumbers[reason],
  topic: source.topic,
  sourcePartition: source.partition,
  sourceOffset: source.offset,
  headers: headers.map(([name, value]) => ({ name, value })),
})

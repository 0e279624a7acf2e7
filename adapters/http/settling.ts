/** Settling leased messages by the routes named after what they do, such as `ack`: done, or why not. */
import type { FastifyReply } from 'fastify'
import {
  type LeaseRange,
  RatatoskrError,
  type Session,
  type Settlement,
  type SettlementAction,
  type SettleResult,
  settleResultsToJson,
} from 'ratatoskr/ports'
import { problemOf, sendProblem } from './problem.ts'

/** What such a route takes. */
export interface HeldBody {
  readonly member?: string
  readonly messages?: readonly {
    readonly partition: number
    readonly offset: number
    readonly lease: number
  }[]
  readonly ranges?: readonly LeaseRange[]
  readonly delayMs?: number
  readonly extendMs?: number
  readonly reason?: string
}

/** The settlements of a body, messages before ranges. @throws RTK_INVALID_ARGUMENT when there are none */
function settlementsOf(action: SettlementAction, body: HeldBody): Settlement[] {
  const { messages = [], ranges = [], delayMs, extendMs, reason } = body
  if (messages.length + ranges.length === 0) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      'name what to settle: messages as { partition, offset, lease }, or ranges as { partition, lease, from, to }',
    )
  }
  const singles = messages.map(({ partition, offset, lease }) => {
    if (offset === Number.MAX_SAFE_INTEGER) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        'offsets are below 2^53-1; no message has a higher one',
      )
    }
    return { partition, lease, from: offset, to: offset + 1 }
  })
  return [...singles, ...ranges].map((range) => ({ ...range, action, delayMs, extendMs, reason }))
}

/** Settles, and answers with nothing when all was done; otherwise with the first refusal, and what became of each. */
export async function settleNamed(
  session: Session,
  { topic, group }: { readonly topic: string; readonly group: string },
  action: SettlementAction,
  body: HeldBody,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const settlements = settlementsOf(action, body)
  const results = await session.settle(topic, { group, member: body.member, settlements })
  const refused = results.find((result): result is NonNullable<SettleResult> => result !== undefined)
  if (refused === undefined) return reply.code(204).send()
  return sendProblem(reply, { ...problemOf(refused), results: settleResultsToJson(results) })
}

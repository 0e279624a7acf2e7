/** What sessions ask of the scheduler, with their arguments checked. */
import { RatatoskrError } from '../../domain/errors.ts'
import { parseUuid } from '../../domain/message-id.ts'
import { quoteForMessage } from '../../domain/names.ts'
import type { ScheduledPage, ScheduledRequest } from '../../ports/index.ts'
import type { Topic } from '../topics/topic.ts'
import type { Scheduler } from './scheduler.ts'

const limitDefault = 100
const limitMax = 1_000

/** @throws see `Session.cancelScheduled` */
export const cancelScheduled = (scheduler: Scheduler, topic: Topic, id: string): Promise<boolean> =>
  scheduler.cancel(topic, parseUuid(id))

/** @throws see `Session.listScheduled` */
export function listScheduled(
  scheduler: Scheduler,
  topic: Topic,
  { limit = limitDefault, after }: ScheduledRequest = {},
): ScheduledPage {
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > limitMax) {
    throw invalid(`limit must be a whole number from 1 to ${limitMax}, got ${quoteForMessage(limit)}`)
  }
  if (after !== undefined && typeof after !== 'string') {
    throw invalid(`after must be what the last page gave as next, got ${quoteForMessage(after)}`)
  }
  return scheduler.list(topic, limit, after)
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

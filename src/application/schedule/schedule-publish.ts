/** Publishing a message that is to be delivered later: into the scheduler's log instead of its topic. */
import type { RecordFields } from '../../domain/batch/builder.ts'
import type { Durability } from '../../domain/durability.ts'
import type { OutgoingMessage } from '../../domain/message.ts'
import { formatUuid } from '../../domain/message-id.ts'
import type { PublishResult } from '../../ports/index.ts'
import type { Topic } from '../topics/topic.ts'
import type { Scheduler } from './scheduler.ts'

/** A message that was checked, and when it is due. */
export interface ScheduledPublish {
  readonly record: RecordFields & { readonly id: Uint8Array }
  readonly deliverAtMs: number
  readonly message: OutgoingMessage
  readonly durability: Durability
  readonly enteredMs: number
  /** Asked before it is kept; throws when it must not be. */
  readonly mayStore: (() => void) | undefined
}

/**
 * Keeps the message. On a topic that looks for duplicates, one that waits under the same id is the same message.
 * @throws as `Scheduler.accept`
 */
export function scheduleMessage(
  scheduler: Scheduler,
  topic: Topic,
  { record, deliverAtMs, message, durability, enteredMs, mayStore }: ScheduledPublish,
  settle: (result: PublishResult) => void,
): void {
  const id = formatUuid(record.id)
  const receipt = { id, partition: -1, offset: -1, durability }
  const waitsUntilMs = topic.dedup === undefined ? undefined : scheduler.deliverAtOf(topic.id, record.id)
  if (waitsUntilMs !== undefined) {
    settle({ ...receipt, deliverAtMs: waitsUntilMs, duplicate: true })
    return
  }
  mayStore?.()
  const { payload, key, headers = [], expiresAtMs } = record
  const kept = {
    id: record.id,
    payload,
    key,
    headers,
    expiresAtMs,
    deliverAtMs,
    partition: message.partition ?? -1,
  }
  scheduler.accept(topic, kept, durability, enteredMs, {
    stored: (reached) => settle({ ...receipt, durability: reached, deliverAtMs }),
    failed: (error) => settle({ error }),
  })
}

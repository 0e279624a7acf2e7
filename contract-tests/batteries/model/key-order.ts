/** What the order of keys allows, as a model: looks at all messages of a partition each time. */
import type { MessageModel } from './message.ts'

type Messages = readonly MessageModel[]

/** An earlier message of the key that this member does not hold, and that is not delivered to it just now. */
export function blockerOf(
  messages: Messages,
  message: MessageModel,
  member: number,
  runFrom: number,
  nowMs: number,
): MessageModel | undefined {
  if (message.key === '') return undefined
  return messages.find(
    (one) =>
      one.offset < message.offset &&
      one.key === message.key &&
      !one.mayBeSettled(nowMs) &&
      !isHeldBy(one, member) &&
      !(one.offset >= runFrom && one.mayBe('waiting')),
  )
}

/** Whether its key may hold the message back from a member; of what is in doubt, it may. */
export function mayBeBlocked(messages: Messages, message: MessageModel, member: number): boolean {
  if (message.key === '') return false
  return messages.some(
    (one) =>
      one.offset < message.offset &&
      one.key === message.key &&
      one.status !== 'settled' &&
      !isHeldBy(one, member),
  )
}

/** A later message of the key that came before: since the broker began for what was in doubt, or that is held now. */
export function overtakerOf(
  messages: Messages,
  message: MessageModel,
  generation: number,
): MessageModel | undefined {
  if (message.key === '') return undefined
  return messages.find(
    (one) =>
      one.offset > message.offset &&
      one.key === message.key &&
      one.seenInGeneration === generation &&
      (message.status === 'doubt' || one.status === 'leased'),
  )
}

const isHeldBy = (message: MessageModel, member: number): boolean =>
  message.status === 'leased' && message.member === member

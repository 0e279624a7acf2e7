/** When a message is to be delivered, and the rules for that. */
import { RatatoskrError } from '../errors.ts'
import { expiryOf, type OutgoingMessage } from '../message.ts'
import { defaultNamespace, type TopicRef } from '../names.ts'

/** The furthest that a delivery may lie in the future: a leap year. */
const scheduleMsMax = 366 * 24 * 60 * 60 * 1_000

/** The topic whose log keeps what waits. Clients never see it: messages of all namespaces are in it. */
export const scheduledTopicRef: TopicRef = Object.freeze({ namespace: defaultNamespace, name: '_scheduled' })

/** True for the topics that no client sees. */
export const isHiddenTopic = ({ namespace, name }: TopicRef): boolean =>
  name === scheduledTopicRef.name && namespace === scheduledTopicRef.namespace

/** When a message is to be delivered, and when it expires. */
export interface DeliveryTimes {
  /** Undefined: at once. A time that has come is at once, too. */
  readonly deliverAtMs: number | undefined
  readonly expiresAtMs: number | undefined
}

/**
 * The times of a message that is taken at `nowMs`. A time to live counts from the delivery.
 * @throws RTK_INVALID_ARGUMENT when the delivery is too far away, or the message would have expired by then
 */
export function deliveryTimesOf(message: OutgoingMessage, nowMs: number): DeliveryTimes {
  // A clock may count parts of a millisecond, a moment of delivery does not.
  const askedMs = message.delayMs === undefined ? message.deliverAtMs : Math.floor(nowMs) + message.delayMs
  if (askedMs === undefined || askedMs <= nowMs) {
    return { deliverAtMs: undefined, expiresAtMs: expiryOf(message, nowMs) }
  }
  if (askedMs - nowMs > scheduleMsMax) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `a message is delivered within 366 days (${scheduleMsMax} ms), got ${askedMs - nowMs} ms from now`,
    )
  }
  const expiresAtMs = expiryOf(message, askedMs)
  if (expiresAtMs !== undefined && expiresAtMs <= askedMs) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `the message would expire at ${expiresAtMs}, before it is delivered at ${askedMs}; ttlMs counts from the delivery`,
    )
  }
  return { deliverAtMs: askedMs, expiresAtMs }
}

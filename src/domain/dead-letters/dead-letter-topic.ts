/** Where the dead letters of a topic go. */
import { utf8 } from '../batch/bytes.ts'
import { RatatoskrError } from '../errors.ts'
import { murmur2 } from '../murmur2.ts'
import {
  formatTopicRef,
  isReservedTopicName,
  parseTopicRef,
  quoteForMessage,
  type TopicRef,
} from '../names.ts'

const suffix = '.dlq'
const nameMax = 249
const hashDigits = 8

/** What a group names when its dead letters are to be dropped. */
const noTopic = 'none'

/** True for topics that hold dead letters by their name. */
export const isDeadLetterName = (name: string): boolean => name.endsWith(suffix)

/**
 * `<topic>.dlq`. A name that has no room for that is cut, and a hash of the whole stands for what was cut, so that two long
 * names hardly ever share one.
 */
export function defaultDeadLetterRef({ namespace, name }: TopicRef): TopicRef {
  if (name.length + suffix.length <= nameMax) return { namespace, name: name + suffix }
  const hash = (murmur2(utf8(name)) >>> 0).toString(16).padStart(hashDigits, '0')
  return { namespace, name: `${name.slice(0, nameMax - suffix.length - hashDigits - 1)}-${hash}${suffix}` }
}

/**
 * Where a group's dead letters go: undefined when they are dropped. What fails in a dead letter topic stays there, since it
 * is kept, listed and redriven from there already: the answer is the topic itself, and no chain of topics comes of it.
 * @param configured the group's `deadLetterTopic`; the source itself stands for the default, since a message that stayed
 *   there would be settled without a letter: a default of all topics may name any of them
 */
export function deadLetterRefOf(source: TopicRef, configured: string): TopicRef | undefined {
  if (configured === noTopic) return undefined
  if (configured !== '') {
    const ref = parseTopicRef(configured, source.namespace)
    if (!isSameTopic(ref, source)) return ref
  }
  return isDeadLetterName(source.name) ? source : defaultDeadLetterRef(source)
}

/**
 * Checks where the dead letters of a topic's groups are to go.
 * @param configured the `deadLetterTopic` that was given; undefined when none was
 * @throws RTK_INVALID_ARGUMENT for the topic itself and for topics of the broker's own
 */
export function assertDeadLetterTopic(source: TopicRef, configured: string | undefined): void {
  if (configured === undefined || configured === '' || configured === noTopic) return
  const ref = parseTopicRef(configured, source.namespace)
  if (isSameTopic(ref, source)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `deadLetterTopic must be another topic than ${quoteForMessage(formatTopicRef(source))} itself; leave it empty for the default, ${formatTopicRef(defaultDeadLetterRef(source))}, or name another one`,
    )
  }
  if (isReservedTopicName(ref.name)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `deadLetterTopic must be no topic of the broker's own, whose names begin with _; got ${quoteForMessage(configured)}`,
    )
  }
}

/** True when both are the same topic. */
export const isSameTopic = (one: TopicRef, other: TopicRef): boolean =>
  formatTopicRef(one) === formatTopicRef(other)

/** Where the dead letters of a topic go. */
import { utf8 } from '../batch/bytes.ts'
import { murmur2 } from '../murmur2.ts'
import { formatTopicRef, parseTopicRef, type TopicRef } from '../names.ts'

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
 * @param configured the group's `deadLetterTopic`
 */
export function deadLetterRefOf(source: TopicRef, configured: string): TopicRef | undefined {
  if (configured === noTopic) return undefined
  if (configured !== '') return parseTopicRef(configured, source.namespace)
  return isDeadLetterName(source.name) ? source : defaultDeadLetterRef(source)
}

/** True when both are the same topic. */
export const isSameTopic = (one: TopicRef, other: TopicRef): boolean =>
  formatTopicRef(one) === formatTopicRef(other)

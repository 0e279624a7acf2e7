/**
 * Names of namespaces, topics, groups and members, and the rules they obey.
 *
 * A name never becomes a path: storage knows topics by id. The rule is an allow-list without normalisation, so that two
 * names are the same topic only when their bytes are equal.
 */
import { RatatoskrError } from './errors.ts'

/** The namespace of whoever names none. */
export const defaultNamespace = 'default'

/** A topic within its namespace. */
export interface TopicRef {
  readonly namespace: string
  readonly name: string
}

const topicCharacters = /^[A-Za-z0-9._-]{1,249}$/
// As a topic's: a namespace or group of `..` would be a path to whoever joins names with slashes.
const labelPattern = /^(?!\.)(?!.*\.\.)[A-Za-z0-9._-]{1,128}(?<!\.)$/
const labelRule = '1 to 128 characters of A-Z a-z 0-9 . _ -, no dot at either end, no two together'

/**
 * Checks a topic's name: 1 to 249 characters of `A-Z a-z 0-9 . _ -`, levels divided by dots, no empty level.
 * @throws RTK_TOPIC_NAME_INVALID
 */
export function assertTopicName(name: unknown): asserts name is string {
  if (typeof name !== 'string' || !topicCharacters.test(name)) {
    throw nameError('a topic name is 1 to 249 characters of A-Z a-z 0-9 . _ -', name)
  }
  if (name.startsWith('.') || name.endsWith('.') || name.includes('..')) {
    throw nameError('the levels of a topic name are divided by single dots and none is empty', name)
  }
}

/** True for names that are the broker's own; clients may read some of them and create none. */
export const isReservedTopicName = (name: string): boolean => name.startsWith('_')

/**
 * Reads `topic` or `namespace/topic`.
 * @throws RTK_TOPIC_NAME_INVALID
 */
export function parseTopicRef(text: unknown, namespace: string = defaultNamespace): TopicRef {
  if (typeof text !== 'string') throw nameError('a topic is named by a string', text)
  const slash = text.indexOf('/')
  if (slash === -1) {
    assertTopicName(text)
    return { namespace, name: text }
  }
  const explicit = text.slice(0, slash)
  const name = text.slice(slash + 1)
  if (!labelPattern.test(explicit)) throw nameError(`a namespace is ${labelRule}`, explicit)
  assertTopicName(name)
  return { namespace: explicit, name }
}

/** The text form of a topic: without the namespace when it is the default one. */
export const formatTopicRef = (topic: TopicRef): string =>
  topic.namespace === defaultNamespace ? topic.name : `${topic.namespace}/${topic.name}`

/**
 * Checks the name of a consumer group or of a member: 1 to 128 characters of `A-Z a-z 0-9 . _ -`, no dot at either end. Groups
 * whose names begin with `_` are the broker's own, as topics are.
 * @throws RTK_INVALID_ARGUMENT
 */
export function assertLabel(what: 'group' | 'member' | 'namespace', value: unknown): asserts value is string {
  if (typeof value !== 'string' || !labelPattern.test(value)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `${what} must be ${labelRule}; got ${quoteForMessage(value)}`,
    )
  }
  if (what === 'group' && value.startsWith('_')) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `names of groups that begin with _ are the broker's own; got ${quoteForMessage(value)}`,
    )
  }
}

function nameError(rule: string, got: unknown): RatatoskrError {
  return new RatatoskrError('RTK_TOPIC_NAME_INVALID', `${rule}; got ${quoteForMessage(got)}`)
}

/** Shows a caller's value in an error message: bounded, and without control characters that could forge log lines. */
export function quoteForMessage(value: unknown): string {
  if (typeof value !== 'string')
    return value === null ? 'null' : typeof value === 'number' ? String(value) : typeof value
  const short = value.length > 60 ? `${value.slice(0, 60)}… (${value.length} characters)` : value
  return JSON.stringify(short).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

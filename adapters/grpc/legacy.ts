/**
 * The service of the first Ratatoskr, for the clients that speak it: package `ratatoskr`, service `MessageBroker`.
 *
 * What it does its own way: an expected failure is a normal reply with its text in `error`; topics are never created by
 * publishing or subscribing; a subscriber sees only what is published after it subscribed, and is ended by its
 * `subscriber_id`. Metadata are headers whose values are text; a message's key is not shown.
 */
import {
  type BrokerFacade,
  type ErrorKind,
  formatTopicRef,
  type Header,
  type OutgoingMessage,
  type PublishResult,
  quoteForMessage,
  RatatoskrError,
  type Session,
  toRatatoskrError,
  utf8,
} from 'ratatoskr/ports'
import { legacy } from 'ratatoskr/proto'
import type { CallHost } from './calls.ts'
import { assertTopicExists, LegacySubscribers } from './legacy-subscribers.ts'
import type { Handlers, Routes } from './routes.ts'
import { unary } from './unary-call.ts'

/** Failures of the call as such, which are a gRPC status: all others are told in the reply. */
const statusKinds: ReadonlySet<ErrorKind> = new Set([
  'unauthenticated',
  'denied',
  'too-large',
  'unavailable',
  'timeout',
  'cancelled',
  'internal',
])

const service = legacy.MessageBrokerService

export function addLegacy(routes: Routes, host: CallHost, broker: BrokerFacade): void {
  const subscribers = new LegacySubscribers(host, broker.platform.random)
  routes.add(service, topicMethods(host))
  routes.add(
    service,
    publishMethods(host, () => broker.platform.clock.now()),
  )
  routes.add(service, unsubscribeMethod(host, subscribers))
  routes.addSubscription(service.subscribe, (call, request) => subscribers.subscribe(call, request))
}

type Methods<Name extends keyof typeof service> = Pick<Handlers<typeof service>, Name>

const unsubscribeMethod = (host: CallHost, subscribers: LegacySubscribers): Methods<'unsubscribe'> => ({
  unsubscribe: unary(host, (session, { topic, subscriptionRef }) =>
    told<legacy.UnsubscribeResponse>(
      async () => {
        subscribers.unsubscribe(session, topic, subscriptionRef)
        return { success: true, error: '' }
      },
      (error) => ({ success: false, error }),
    ),
  ),
})

function topicMethods(
  host: CallHost,
): Methods<'createTopic' | 'deleteTopic' | 'listTopics' | 'topicExists' | 'getStats'> {
  return {
    createTopic: unary(host, (session, { name }) =>
      told<legacy.CreateTopicResponse>(
        async () => {
          const isNew = !(await session.topicExists(name)) && (await session.createTopic(name)).created
          if (!isNew)
            throw new RatatoskrError('RTK_TOPIC_EXISTS', `the topic ${quoteForMessage(name)} already exists`)
          return { topic: name, created: true, error: '' }
        },
        (error) => ({ topic: name, created: false, error }),
      ),
    ),
    deleteTopic: unary(host, (session, { name }) =>
      told<legacy.DeleteTopicResponse>(
        async () => {
          await session.deleteTopic(name)
          return { success: true, error: '' }
        },
        (error) => ({ success: false, error }),
      ),
    ),
    listTopics: unary(host, async (session) => ({
      topics: (await session.listTopics()).map(formatTopicRef),
    })),
    topicExists: unary(host, (session, { name }) =>
      told<legacy.TopicExistsResponse>(
        async () => ({ exists: await session.topicExists(name) }),
        () => ({ exists: false }),
      ),
    ),
    getStats: unary(host, (session, { topic }) =>
      told(
        async () => {
          const { messageCount, subscriberCount } = await session.topicStats(topic)
          return { topic, messageCount, subscriberCount, error: '' }
        },
        (error) => ({ topic, messageCount: 0, subscriberCount: 0, error }),
      ),
    ),
  }
}

function publishMethods(host: CallHost, now: () => number): Methods<'publish' | 'publishBatch'> {
  return {
    publish: unary(host, (session, request) =>
      told(
        async () => {
          await assertTopicExists(session, request.topic)
          const timestamp = now()
          const { id } = await session.publish(request.topic, outgoing(request, timestamp))
          return { messageId: id, timestamp, success: true, error: '' }
        },
        (error) => failed(error),
      ),
    ),
    publishBatch: unary(host, async (session, { topic, messages }) => {
      const results = await told(
        () => publishAll(session, topic, messages, now()),
        (error) => messages.map(() => failed(error)),
      )
      const successCount = results.filter((result) => result.success).length
      return { results, successCount, errorCount: results.length - successCount }
    }),
  }
}

/** Runs a method; a failure that is to be expected becomes a reply. */
async function told<Reply>(run: () => Promise<Reply>, reply: (error: string) => Reply): Promise<Reply> {
  try {
    return await run()
  } catch (thrown) {
    const error = toRatatoskrError(thrown)
    if (statusKinds.has(error.kind)) throw error
    return reply(error.message)
  }
}

async function publishAll(
  session: Session,
  topic: string,
  requests: readonly legacy.PublishRequest[],
  timestamp: number,
): Promise<legacy.PublishResponse[]> {
  await assertTopicExists(session, topic)
  // The batch's topic counts. A message that names another was meant for elsewhere, and is refused rather than misplaced.
  const isStray = (request: legacy.PublishRequest): boolean => request.topic !== '' && request.topic !== topic
  const mine = requests.filter((request) => !isStray(request))
  const published = await session.publishMany(
    topic,
    mine.map((request) => outgoing(request, timestamp)),
  )
  let next = 0
  return requests.map((request) =>
    isStray(request)
      ? failed(
          `the message names the topic ${quoteForMessage(request.topic)}, and its batch ${quoteForMessage(topic)}`,
        )
      : resultOf(published[next++], timestamp),
  )
}

const resultOf = (result: PublishResult, timestamp: number): legacy.PublishResponse =>
  'error' in result
    ? failed(result.error.message)
    : { messageId: result.id, timestamp, success: true, error: '' }

const failed = (error: string): legacy.PublishResponse => ({
  messageId: '',
  timestamp: 0,
  success: false,
  error,
})

function outgoing({ payload, metadata }: legacy.PublishRequest, timestampMs: number): OutgoingMessage {
  const headers = [...metadata].map(([name, value]): Header => [name, utf8(value)])
  return { payload, headers, timestampMs }
}

/**
 * A link over HTTP: one request an operation, and for a subscription one response that never ends (see
 * http-subscription.ts). The connection's flow control is the credit: while credit is used up, nothing is read.
 */
import {
  assertLabel,
  outgoingToJson,
  parseTopicRef,
  publishResultFromJson,
  type RatatoskrError,
  type Session,
} from '../../ports/index.ts'
import { type BrokerNow, brokerClock } from '../broker-clock.ts'
import { unlessAborted } from '../call.ts'
import type { Link, LinkFetched, OpenLink } from '../link.ts'
import { HttpCalls } from './http-calls.ts'
import { listOverHttp, purgeOverHttp, redriveOverHttp } from './http-dead-letters.ts'
import { consumeOverHttp } from './http-leases.ts'
import { createOverHttp, settleOverHttp, takeOverHttp } from './http-queues.ts'
import { subscribeOverHttp } from './http-subscription.ts'

const batchContentType = 'application/vnd.ratatoskr.batch'

// `fetch` of Node gives up on headers that take 5 minutes: a longer wait comes back empty before that.
const waitMsMax = 240_000

/** Opens a link to `http://host:port` or `https://host:port`. */
export const openHttpLink: OpenLink = async (url, options) => {
  const http = new HttpCalls(url, options)
  const { clock } = options.platform
  const askedAtMs = clock.monotonic()
  const { timeMs } = await http.json<{ timeMs?: unknown }>('GET', '/v1/session', undefined, options.signal)
  return new HttpLink(http, brokerClock(clock, askedAtMs, timeMs))
}

type Answer<Name extends 'publishBatch' | (keyof Link & keyof Session)> = Awaited<ReturnType<Session[Name]>>
type Asked<Name extends keyof Link & keyof Session> = Parameters<Session[Name]>

// Names are checked before they become a path: `..` would be another one. What is refused here the broker refuses, too.
function topicPath(topic: string): string {
  parseTopicRef(topic)
  return `/v1/topics/${encodeURIComponent(topic)}`
}
function groupPath(topic: string, group: string): string {
  assertLabel('group', group)
  return `${topicPath(topic)}/groups/${encodeURIComponent(group)}`
}
const jsonBody = (value: unknown) => ({
  body: JSON.stringify(value),
  headers: { 'content-type': 'application/json' },
})

class HttpLink implements Link {
  readonly closed: Promise<RatatoskrError | undefined>
  readonly brokerNow: BrokerNow
  readonly #http: HttpCalls
  /** The last publish to each partition. Requests take several connections, where one overtakes another: they go in turn. */
  readonly #publishing = new Map<string, Promise<unknown>>()

  constructor(http: HttpCalls, brokerNow: BrokerNow) {
    this.#http = http
    this.brokerNow = brokerNow
    this.closed = http.closed
  }

  async createTopic(...[topic, config = {}]: Asked<'createTopic'>): Promise<Answer<'createTopic'>> {
    const response = await this.#http.send('PUT', topicPath(topic), jsonBody(config))
    return { created: response.status === 201, topic: await this.#http.readJson(response) }
  }

  deleteTopic(topic: string): Promise<void> {
    return this.#http.json('DELETE', topicPath(topic))
  }

  async listTopics(): Promise<Answer<'listTopics'>> {
    return (await this.#http.json<{ topics: Answer<'listTopics'> }>('GET', '/v1/topics')).topics
  }

  async topicExists(topic: string): Promise<boolean> {
    return (await this.#http.json<{ exists: boolean }>('GET', `${topicPath(topic)}/exists`)).exists
  }

  describeTopic(topic: string): Promise<Answer<'describeTopic'>> {
    return this.#http.json('GET', topicPath(topic))
  }

  alterTopic(...[topic, changes]: Asked<'alterTopic'>): Promise<Answer<'alterTopic'>> {
    return this.#http.json('PATCH', topicPath(topic), changes)
  }

  resolveTopic(topic: string): Promise<Answer<'resolveTopic'>> {
    return this.#http.json('POST', `${topicPath(topic)}/resolve`)
  }

  initProducer(): Promise<Answer<'initProducer'>> {
    return this.#http.json('POST', '/v1/producers')
  }

  async publishBatch(...asked: Asked<'publishBatch'>): Promise<Answer<'publishBatch'>> {
    const [topic, partition, , options] = asked
    const key = `${partition} ${topic}`
    const send = (): Promise<Answer<'publishBatch'>> => this.#publish(...asked)
    const sent = this.#publishing.get(key)?.then(send, send) ?? send()
    const forget = (): void => {
      if (this.#publishing.get(key) === sent) this.#publishing.delete(key)
    }
    this.#publishing.set(key, sent)
    sent.then(forget, forget)
    return unlessAborted(sent, options?.signal, 'publish')
  }

  async #publish(
    ...[topic, partition, batch, options = {}]: Asked<'publishBatch'>
  ): Promise<Answer<'publishBatch'>> {
    const durability = options.durability === undefined ? '' : `&durability=${options.durability}`
    const response = await this.#http.send(
      'POST',
      `${topicPath(topic)}/messages?partition=${partition}${durability}`,
      {
        body: batch as Uint8Array<ArrayBuffer>,
        headers: {
          'content-type': batchContentType,
          ...(options.lease !== undefined && { 'ratatoskr-lease': JSON.stringify(options.lease) }),
        },
        signal: options.signal ?? null,
      },
    )
    return this.#http.readJson(response, options.signal)
  }

  async publishMany(
    ...[topic, messages, options = {}]: Asked<'publishMany'>
  ): Promise<Answer<'publishMany'>> {
    const durability = options.durability === undefined ? '' : `?durability=${options.durability}`
    const { lease, signal } = options
    const { body, headers } = jsonBody({ messages: messages.map(outgoingToJson) })
    const response = await this.#http.send('POST', `${topicPath(topic)}/messages${durability}`, {
      body,
      headers: { ...headers, ...(lease !== undefined && { 'ratatoskr-lease': JSON.stringify(lease) }) },
      signal: signal ?? null,
    })
    type Results = { results: Answer<'publishMany'> }
    return (await this.#http.readJson<Results>(response, signal)).results.map(publishResultFromJson)
  }

  async cancelScheduled(topic: string, id: string): Promise<boolean> {
    const path = `${topicPath(topic)}/scheduled/${encodeURIComponent(id)}`
    return (await this.#http.json<{ cancelled: boolean }>('DELETE', path)).cancelled
  }

  listScheduled(...[topic, request = {}]: Asked<'listScheduled'>): Promise<Answer<'listScheduled'>> {
    const query = new URLSearchParams()
    if (request.limit !== undefined) query.set('limit', String(request.limit))
    if (request.after !== undefined) query.set('after', request.after)
    return this.#http.json('GET', `${topicPath(topic)}/scheduled?${query}`)
  }

  deadLetters(...[topic, ...asked]: Asked<'deadLetters'>): Promise<Answer<'deadLetters'>> {
    return listOverHttp(this.#http, topicPath(topic), ...asked)
  }

  redriveDeadLetters(
    ...[topic, ...asked]: Asked<'redriveDeadLetters'>
  ): Promise<Answer<'redriveDeadLetters'>> {
    return redriveOverHttp(this.#http, topicPath(topic), ...asked)
  }

  purgeDeadLetters(...[topic, ...asked]: Asked<'purgeDeadLetters'>): Promise<Answer<'purgeDeadLetters'>> {
    return purgeOverHttp(this.#http, topicPath(topic), ...asked)
  }

  subscribe(...[topic, options, sink]: Asked<'subscribe'>): Promise<Answer<'subscribe'>> {
    return subscribeOverHttp(this.#http, { topic, topicPath: topicPath(topic), options, sink })
  }

  async fetch(...[topic, request, call = {}]: Asked<'fetch'>): Promise<LinkFetched> {
    const query = new URLSearchParams({
      partition: String(request.partition),
      offset: String(request.offset),
    })
    if (request.waitMs !== undefined) query.set('waitMs', String(Math.min(request.waitMs, waitMsMax)))
    if (request.bytesMax !== undefined) query.set('bytesMax', String(request.bytesMax))
    const response = await this.#http.send('GET', `${topicPath(topic)}/messages?${query}`, {
      headers: { accept: batchContentType },
      signal: call.signal ?? null,
    })
    const offset = (name: string): number => Number(response.headers.get(`ratatoskr-${name}-offset`))
    return {
      partition: request.partition,
      bytes: await this.#http.bytes(response, call.signal),
      fromOffset: offset('from'),
      nextOffset: offset('next'),
      startOffset: offset('start'),
      stableOffset: offset('stable'),
    }
  }

  commit(...[topic, { group, ...body }]: Asked<'commit'>): Promise<void> {
    return this.#http.json('POST', `${groupPath(topic, group)}/commit`, body)
  }

  async seekGroup(...[topic, group, request]: Asked<'seekGroup'>): Promise<Answer<'seekGroup'>> {
    const path = `${groupPath(topic, group)}/seek`
    return (await this.#http.json<{ offsets: Answer<'seekGroup'> }>('POST', path, request)).offsets
  }

  async listGroups(topic: string): Promise<readonly string[]> {
    return (await this.#http.json<{ groups: string[] }>('GET', `${topicPath(topic)}/groups`)).groups
  }

  describeGroup(...[topic, group]: Asked<'describeGroup'>): Promise<Answer<'describeGroup'>> {
    return this.#http.json('GET', `${groupPath(topic, group)}?kind=stream`)
  }

  deleteGroup(...[topic, group]: Asked<'deleteGroup'>): Promise<void> {
    return this.#http.json('DELETE', groupPath(topic, group))
  }

  async consume(...[topic, options, sink]: Asked<'consume'>): Promise<Answer<'consume'>> {
    const paths = { topicPath: topicPath(topic), groupPath: groupPath(topic, options.group) }
    return consumeOverHttp(this.#http, { ...paths, options, sink })
  }

  async take(...[topic, request, call]: Asked<'take'>): Promise<Answer<'take'>> {
    return takeOverHttp(this.#http, groupPath(topic, request.group), request, call)
  }

  async settle(...[topic, request]: Asked<'settle'>): Promise<Answer<'settle'>> {
    return settleOverHttp(this.#http, groupPath(topic, request.group), request)
  }

  async heartbeat(...[topic, group, member]: Asked<'heartbeat'>): Promise<void> {
    await this.#http.json('POST', `${groupPath(topic, group)}/heartbeat`, { member })
  }

  async leaveQueue(...[topic, group, member]: Asked<'leaveQueue'>): Promise<void> {
    await this.#http.json('POST', `${groupPath(topic, group)}/leave`, { member })
  }

  async createQueue(...[topic, group, config, from]: Asked<'createQueue'>): Promise<Answer<'createQueue'>> {
    return createOverHttp(this.#http, groupPath(topic, group), config, from)
  }

  async alterQueue(...[topic, group, changes]: Asked<'alterQueue'>): Promise<Answer<'alterQueue'>> {
    return this.#http.json('PATCH', groupPath(topic, group), changes)
  }

  async describeQueue(...[topic, group]: Asked<'describeQueue'>): Promise<Answer<'describeQueue'>> {
    return this.#http.json('GET', `${groupPath(topic, group)}?kind=queue`)
  }

  async pauseQueue(...[topic, group, paused, partitions]: Asked<'pauseQueue'>): Promise<void> {
    await this.#http.json('POST', `${groupPath(topic, group)}/${paused ? 'pause' : 'resume'}`, { partitions })
  }

  async offsets(...[topic, position]: Asked<'offsets'>): Promise<Answer<'offsets'>> {
    return (
      await this.#http.json<{ offsets: Answer<'offsets'> }>('POST', `${topicPath(topic)}/offsets`, {
        position,
      })
    ).offsets
  }

  topicStats(topic: string): Promise<Answer<'topicStats'>> {
    return this.#http.json('GET', `${topicPath(topic)}/stats`)
  }

  brokerStats(): Promise<Answer<'brokerStats'>> {
    return this.#http.json('GET', '/v1/stats')
  }

  async close(): Promise<void> {
    await this.#http.close()
  }
}

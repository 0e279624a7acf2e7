/** A client of the line protocol, as the transport suite needs one. */
import { connect as connectSocket, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { ProbeSink, ProbeSubscription, TransportProbe } from 'ratatoskr/contract-tests'
import {
  type BoundAddress,
  errorFromJson,
  formatTopicRef,
  type JsonMessage,
  type Message,
  messageFromJson,
  type OutgoingMessage,
  type PublishReceipt,
  type PublishResult,
  RatatoskrError,
  type TopicDescription,
} from 'ratatoskr/ports'

interface Line {
  readonly id?: number
  readonly ok?: unknown
  readonly error?: unknown
  readonly subscription?: number
  readonly event?: 'assigned' | 'message' | 'dropped' | 'ended' | 'closing'
  readonly message?: JsonMessage
  readonly partition?: number
  readonly fromOffset?: number
  readonly toOffset?: number
}

/** Connects and says who we are. @throws RTK_DISCONNECTED, RTK_UNAUTHENTICATED */
export async function lineProbe(address: BoundAddress, token?: string): Promise<TransportProbe> {
  const socket = connectSocket({ host: address.host, port: address.port, noDelay: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', (cause) =>
      reject(new RatatoskrError('RTK_DISCONNECTED', 'nobody listens there', { cause })),
    )
  })
  const lines = new Lines(socket)
  await lines.ask('hello', { token })
  return probeOver(lines)
}

/** Requests and their answers, and the events of subscriptions one after the other. */
class Lines {
  readonly socket: Socket
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  readonly #sinks = new Map<number, { sink: ProbeSink; last: Promise<void> }>()
  #lastId = 0

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => socket.destroy())
    createInterface({ input: socket }).on('line', (text) => this.#received(JSON.parse(text) as Line))
    socket.on('close', () => {
      const lost = new RatatoskrError('RTK_DISCONNECTED', 'the broker hung up')
      for (const answer of this.#waiting.values()) answer.reject(lost)
      for (const id of [...this.#sinks.keys()]) this.end(id, lost)
    })
  }

  ask<T>(op: string, fields: object, sink?: ProbeSink): Promise<T> {
    const id = ++this.#lastId
    const answer = Promise.withResolvers<unknown>()
    this.#waiting.set(id, answer)
    if (sink !== undefined) this.#sinks.set(id, { sink, last: Promise.resolve() })
    if (this.socket.destroyed)
      answer.reject(new RatatoskrError('RTK_DISCONNECTED', 'the connection is closed'))
    else this.socket.write(`${JSON.stringify({ op, id, ...fields })}\n`)
    return answer.promise as Promise<T>
  }

  get lastId(): number {
    return this.#lastId
  }

  end(id: number, reason: RatatoskrError | undefined): void {
    const open = this.#sinks.get(id)
    this.#sinks.delete(id)
    open?.sink.ended(reason)
  }

  #received(line: Line): void {
    if (line.event !== undefined) {
      const id = line.subscription ?? -1
      const open = this.#sinks.get(id)
      if (open !== undefined) open.last = open.last.then(() => this.#event(id, line))
      return
    }
    const answer = this.#waiting.get(line.id ?? -1)
    this.#waiting.delete(line.id ?? -1)
    if (line.error === undefined) answer?.resolve(line.ok)
    else answer?.reject(errorFromJson(line.error))
  }

  #event(id: number, line: Line): void | Promise<void> {
    const open = this.#sinks.get(id)
    if (line.event === 'message') return open?.sink.deliver(messageOf(line.message as JsonMessage))
    if (line.event === 'dropped') {
      const { partition = 0, fromOffset = 0, toOffset = 0 } = line
      return open?.sink.dropped?.({ partition, fromOffset, toOffset })
    }
    if (line.event === 'ended') this.end(id, line.error === undefined ? undefined : errorFromJson(line.error))
  }
}

function messageOf({ topic, offset, partition, key, ...rest }: JsonMessage): Message {
  const message = messageFromJson(key === null ? rest : { ...rest, key })
  return {
    ...message,
    id: rest.id,
    topic,
    partition,
    offset,
    timestampMs: rest.timestamp,
    expiresAtMs: rest.expiresAtMs,
    key: message.key,
    headers: message.headers ?? [],
  }
}

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')

const toJson = ({ payload, key, headers = [], timestampMs, ...rest }: OutgoingMessage): object => ({
  ...rest,
  payload: base64(payload),
  ...(key !== undefined && { key: { base64: base64(key) } }),
  headers: Object.fromEntries(headers.map(([name, value]) => [name, { base64: base64(value) }])),
  ...(timestampMs !== undefined && { timestamp: timestampMs }),
})

function probeOver(lines: Lines): TransportProbe {
  return {
    createTopic: (topic, config = {}) => lines.ask('createTopic', { topic, config }),
    deleteTopic: (topic) => lines.ask('deleteTopic', { topic }),
    alterTopic: (topic, changes) => lines.ask('alterTopic', { topic, changes }),
    describeTopic: (topic) => lines.ask('describeTopic', { topic }),
    topicExists: (topic) => lines.ask('topicExists', { topic }),
    listTopics: async () => (await lines.ask<TopicDescription[]>('listTopics', {})).map(formatTopicRef),
    topicStats: (topic) => lines.ask('topicStats', { topic }),
    publish: (topic, message, durability, lease) =>
      lines.ask('publish', { topic, message: toJson(message), durability, lease }),
    async publishMany(topic, messages, lease) {
      const results = await lines.ask<(PublishReceipt | { error: unknown })[]>('publishMany', {
        topic,
        messages: messages.map(toJson),
        lease,
      })
      return results.map(
        (result): PublishResult => ('error' in result ? { error: errorFromJson(result.error) } : result),
      )
    },
    publishBatch: () =>
      Promise.reject(new RatatoskrError('RTK_NOT_SUPPORTED', 'lines carry no record batches')),
    subscribe: (topic, options, sink) => subscribe(lines, topic, options, sink),
    fetch: async (topic, partition, offset, waitMs = 0) =>
      (await lines.ask<JsonMessage[]>('fetch', { topic, partition, offset, waitMs })).map(messageOf),
    commit: (topic, group, offsets) => lines.ask('commit', { topic, group, offsets }),
    describeGroup: (topic, group) => lines.ask('describeGroup', { topic, group }),
    close: () =>
      new Promise((resolve) => {
        if (lines.socket.destroyed) return resolve()
        lines.socket.once('close', () => resolve()).end()
      }),
  }
}

async function subscribe(
  lines: Lines,
  topic: string,
  { credit, ...options }: Parameters<TransportProbe['subscribe']>[1],
  sink: ProbeSink,
): Promise<ProbeSubscription> {
  const subscription = lines.lastId + 1
  const { member } = await lines.ask<{ member: string }>(
    'subscribe',
    { topic, ...options, credit: { messages: credit } },
    sink,
  )
  return {
    member,
    grant: (messages) => void lines.ask('credit', { subscription, messages }),
    commit: (offsets) => lines.ask('commitSubscription', { subscription, offsets }),
    async close() {
      await lines.ask('unsubscribe', { subscription })
      lines.end(subscription, undefined)
    },
  }
}

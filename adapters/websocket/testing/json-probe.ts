/** A client of `ratatoskr.v1+json` for the transport suite: requests and events as JSON, message by message. */
import type {
  ProbeSink,
  ProbeSubscribeOptions,
  ProbeSubscription,
  TransportProbe,
} from 'ratatoskr/contract-tests'
import {
  bytesFromJson,
  type DroppedMessages,
  errorFromJson,
  formatTopicRef,
  fromBase64,
  type Header,
  headersFromJson,
  type Message,
  type OutgoingMessage,
  type PublishReceipt,
  type PublishResult,
  RatatoskrError,
  type TopicDescription,
  toBase64,
} from 'ratatoskr/ports'
import type { WebSocket } from 'ws'
import { type JsonFrame, RawClient } from './raw-client.ts'

export interface JsonProbeOptions {
  readonly url: string
  readonly token: string | undefined
  /** Batches have no form in JSON: what publishes them instead. */
  readonly publishBatch: TransportProbe['publishBatch']
}

/** @throws RTK_UNAUTHENTICATED, RTK_DISCONNECTED */
export async function jsonProbe({ url, token, publishBatch }: JsonProbeOptions): Promise<TransportProbe> {
  const calls = new JsonCalls(await opened(url))
  await calls.ask('hello', { token })
  const ask = async <Result>(op: string, fields: object): Promise<Result> =>
    (await calls.ask(op, fields)) as Result
  return {
    createTopic: (topic, config) => ask('createTopic', { topic, config }),
    deleteTopic: async (topic) => void (await ask('deleteTopic', { topic })),
    alterTopic: (topic, changes) => ask('alterTopic', { topic, changes }),
    describeTopic: (topic) => ask('describeTopic', { topic }),
    topicExists: async (topic) => (await ask<{ exists: boolean }>('topicExists', { topic })).exists,
    listTopics: async () =>
      (await ask<{ topics: TopicDescription[] }>('listTopics', {})).topics.map(formatTopicRef),
    topicStats: (topic) => ask('topicStats', { topic }),
    publish: (topic, message, durability, lease) =>
      ask('publish', { topic, message: outgoing(message), durability, lease }),
    publishMany: async (topic, messages, lease) => {
      const fields = { topic, messages: messages.map(outgoing), lease }
      const { results } = await ask<{ results: (PublishReceipt | { error: unknown })[] }>(
        'publishMany',
        fields,
      )
      return results.map(
        (result): PublishResult => ('error' in result ? { error: errorFromJson(result.error) } : result),
      )
    },
    publishBatch,
    scheduled: {
      list: (topic, request) => ask('listScheduled', { ...request, topic }),
      cancel: async (topic, messageId) =>
        (await ask<{ cancelled: boolean }>('cancelScheduled', { topic, messageId })).cancelled,
    },
    subscribe: (topic, options, sink) => calls.subscribe(topic, options, sink),
    fetch: async (topic, partition, offset, waitMs) => {
      const { messages } = await ask<{ messages: JsonFrame[] }>('fetch', { topic, partition, offset, waitMs })
      return messages.map(incoming)
    },
    commit: async (topic, group, offsets) => void (await ask('commit', { topic, group, offsets })),
    describeGroup: (topic, group) => ask('describeGroup', { topic, group }),
    close: () => calls.close(),
  }
}

async function opened(url: string): Promise<WebSocket> {
  try {
    return (await RawClient.open(url)).ws
  } catch (cause) {
    throw new RatatoskrError('RTK_DISCONNECTED', `no broker answered at ${url}`, { cause })
  }
}

interface Waiting {
  resolve(ok: unknown): void
  reject(error: RatatoskrError): void
}

class JsonCalls {
  readonly #ws: WebSocket
  readonly #waiting = new Map<number, Waiting>()
  readonly #sinks = new Map<number, SinkQueue>()
  #id = 0
  #lost: RatatoskrError | undefined

  constructor(ws: WebSocket) {
    this.#ws = ws
    ws.on('message', (data: Buffer) => this.#take(JSON.parse(data.toString()) as JsonFrame))
    ws.on('close', () => {
      this.#lost = new RatatoskrError('RTK_DISCONNECTED', 'the connection is lost')
      for (const waiting of this.#waiting.values()) waiting.reject(this.#lost)
      for (const queue of this.#sinks.values()) queue.ended(this.#lost)
    })
  }

  ask(op: string, fields: object, id: number = ++this.#id): Promise<unknown> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost)
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#ws.send(JSON.stringify({ ...fields, op, id }))
    })
  }

  async subscribe(
    topic: string,
    options: ProbeSubscribeOptions,
    sink: ProbeSink,
  ): Promise<ProbeSubscription> {
    const id = ++this.#id
    const queue = new SinkQueue(sink)
    this.#sinks.set(id, queue)
    const fields = { ...options, topic, credit: { messages: options.credit } }
    const { member } = (await this.ask('subscribe', fields, id)) as { member: string }
    return {
      member,
      grant: (messages) => this.#ws.send(JSON.stringify({ op: 'credit', subscription: id, messages })),
      commit: async (offsets) => void (await this.ask('commitSubscription', { subscription: id, offsets })),
      close: async () => {
        queue.ended(undefined)
        await this.ask('unsubscribe', { subscription: id })
      },
    }
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.#ws.once('close', resolve))
    if (this.#ws.readyState === this.#ws.CLOSED) return
    this.#ws.close()
    await gone
  }

  #take(frame: JsonFrame): void {
    const queue = this.#sinks.get(frame.subscription as number)
    if (frame.event === 'message') queue?.push((sink) => sink.deliver(incoming(frame.message as JsonFrame)))
    else if (frame.event === 'assigned') queue?.push((sink) => sink.assigned?.(frame.partitions as []))
    else if (frame.event === 'dropped') queue?.push((sink) => sink.dropped?.(droppedOf(frame)))
    else if (frame.event === 'ended') {
      const reason = frame.error === undefined ? undefined : errorFromJson(frame.error)
      queue?.push(() => queue.ended(reason))
    } else this.#answer(frame)
  }

  #answer(frame: JsonFrame): void {
    const waiting = this.#waiting.get(frame.id as number)
    this.#waiting.delete(frame.id as number)
    if ('error' in frame) waiting?.reject(errorFromJson(frame.error))
    else waiting?.resolve(frame.ok)
  }
}

const droppedOf = ({ partition, fromOffset, toOffset }: JsonFrame): DroppedMessages =>
  ({ partition, fromOffset, toOffset }) as DroppedMessages

/** Hands events to a sink one after the other. */
class SinkQueue {
  readonly #sink: ProbeSink
  #last: Promise<void> = Promise.resolve()
  #over = false

  constructor(sink: ProbeSink) {
    this.#sink = sink
  }

  push(call: (sink: ProbeSink) => void | Promise<void>): void {
    this.#last = this.#last.then(() => (this.#over ? undefined : call(this.#sink)))
  }

  ended(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#sink.ended(reason)
  }
}

function outgoing({ payload, key, headers, timestampMs, ...rest }: OutgoingMessage): object {
  return {
    ...rest,
    timestamp: timestampMs,
    payload: toBase64(payload),
    key: key === undefined ? undefined : { base64: toBase64(key) },
    headers: headers === undefined ? undefined : headerObject(headers),
  }
}

function headerObject(headers: readonly Header[]): object {
  const object: Record<string, object[]> = Object.create(null)
  for (const [name, value] of headers) {
    object[name] ??= []
    object[name].push({ base64: toBase64(value) })
  }
  return object
}

function incoming(json: JsonFrame): Message {
  const { timestamp, key, headers, payload, ...rest } = json
  return {
    ...rest,
    timestampMs: timestamp,
    key: key === null ? undefined : bytesFromJson(key, 'key'),
    headers: headersFromJson(headers, 'headers'),
    payload: fromBase64(payload as string),
  } as Message
}

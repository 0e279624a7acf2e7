/** A subscription over HTTP: reads the frames of one response, as fast as the sink takes them. The broker sends while there is credit. */
import { checkOverflow } from '../../domain/overflow.ts'
import {
  type BatchSink,
  type Credit,
  decodeFrame,
  errorFromJson,
  type PartitionOffset,
  RatatoskrError,
  type StartPosition,
  type SubscribeOptions,
  type Subscription,
  toRatatoskrError,
} from '../../ports/index.ts'
import type { FrameReader } from './frame-reader.ts'
import type { HttpCalls } from './http-calls.ts'
import { HttpCredit } from './http-credit.ts'
import { eventOf, nextFrame, openFrames } from './http-frames.ts'

const closePatienceMs = 2_000

interface Request {
  readonly topic: string
  readonly topicPath: string
  readonly options: SubscribeOptions
  readonly sink: BatchSink
}

interface StreamEvent {
  readonly event: 'subscribed' | 'assigned' | 'dropped' | 'ended'
  readonly subscription?: string
  readonly member?: string
  readonly partitions?: readonly PartitionOffset[]
  readonly partition?: number
  readonly fromOffset?: number
  readonly toOffset?: number
  readonly error?: unknown
}

/** Opens the stream and resolves when the broker has accepted the subscription. */
export async function subscribeOverHttp(http: HttpCalls, request: Request): Promise<Subscription> {
  const path = `${request.topicPath}/subscribe?${queryOf(request.options)}`
  const { reader, accepted, abort } = await openFrames<StreamEvent>(http, path)
  const subscription = new HttpSubscription(http, request, accepted, abort)
  subscription.run(reader)
  return subscription
}

class HttpSubscription implements Subscription {
  readonly id: string
  readonly topic: string
  readonly group: string | undefined
  readonly member: string
  readonly #http: HttpCalls
  readonly #request: Request
  readonly #abort: AbortController
  readonly #path: string
  readonly #credit: HttpCredit
  readonly #forget: () => void
  #failure: RatatoskrError | undefined
  #closing: Promise<void> | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(http: HttpCalls, request: Request, accepted: StreamEvent, abort: AbortController) {
    this.id = accepted.subscription ?? ''
    this.topic = request.topic
    this.group = request.options.group
    this.member = accepted.member ?? ''
    this.#http = http
    this.#request = request
    this.#abort = abort
    this.#path = `${request.topicPath}/subscriptions/${this.id}`
    this.#credit = new HttpCredit(http, this.#path, (error) => this.#fail(error))
    this.#forget = http.beforeClose(() => this.close())
  }

  /** Reads frames to the end of the stream, then tells the sink why it ended. */
  run(reader: FrameReader): void {
    this.#running = this.#read(reader)
      .catch((error: unknown) => toRatatoskrError(error, 'RTK_DISCONNECTED'))
      .then((reason) => {
        this.#forget()
        this.#credit.end()
        this.#abort.abort()
        this.#request.sink.ended(this.#closing === undefined ? (this.#failure ?? reason) : undefined)
      })
  }

  grant(credit: Credit): void {
    this.#credit.grant({ bytes: credit.bytes })
  }

  commit(offsets: Parameters<Subscription['commit']>[0]): Promise<void> {
    if (this.group === undefined) {
      return Promise.reject(
        new RatatoskrError('RTK_INVALID_ARGUMENT', 'a subscription without a group has nothing to commit'),
      )
    }
    const path = `${this.#request.topicPath}/groups/${encodeURIComponent(this.group)}/commit`
    return this.#http.json('POST', path, { member: this.member, offsets })
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#credit.end()
    // The broker must know before we say that it is over: others may take the partitions from here on. One that does
    // not answer learns of it by the end of the stream.
    const patience = this.#http.clock.after(closePatienceMs, () => this.#abort.abort())
    await this.#http.json('DELETE', this.#path, undefined, this.#abort.signal).catch(() => undefined)
    patience[Symbol.dispose]()
    this.#abort.abort()
    await this.#running
  }

  async #read(reader: FrameReader): Promise<RatatoskrError | undefined> {
    for (;;) {
      const frame = await nextFrame(this.#http, reader, this.#abort.signal)
      if (this.#closing !== undefined) return undefined
      if (frame === undefined)
        return new RatatoskrError('RTK_DISCONNECTED', 'the stream of the subscription broke off')
      const event = eventOf<StreamEvent>(frame)
      if (event?.event === 'ended') return event.error === undefined ? undefined : errorFromJson(event.error)
      if (event?.event === 'assigned') this.#request.sink.assigned?.(event.partitions ?? [])
      if (event?.event === 'dropped') {
        const { partition = 0, fromOffset = 0, toOffset = 0 } = event
        this.#request.sink.dropped?.({ partition, fromOffset, toOffset })
      }
      if (event === undefined) await this.#deliver(frame)
    }
  }

  async #deliver(bytes: Uint8Array): Promise<void> {
    const frame = decodeFrame(bytes)
    if (frame.kind !== 'deliver') {
      throw new RatatoskrError('RTK_FRAME_MALFORMED', `a frame of kind ${frame.kind} came on a subscription`)
    }
    const { partition, fromOffset, nextOffset } = frame
    await this.#request.sink.deliver({ partition, bytes: frame.bytes, fromOffset, nextOffset })
  }

  /** The broker does not hear of credit: the stream is given up, and its end says why. */
  #fail(error: RatatoskrError): void {
    this.#failure ??= error
    this.#abort.abort()
  }
}

function queryOf({ group, member, from, partitions, overflow, credit }: SubscribeOptions): URLSearchParams {
  const query = new URLSearchParams({ creditBytes: String(credit?.bytes ?? 0) })
  if (group !== undefined) query.set('group', group)
  if (member !== undefined) query.set('member', member)
  if (from !== undefined) query.set('from', positionText(from))
  if (typeof from === 'object' && 'offsets' in from && from.otherwise !== undefined)
    query.set('otherwise', from.otherwise)
  if (partitions !== undefined) query.set('partitions', partitions.join(','))
  if (overflow !== undefined) {
    checkOverflow(overflow)
    query.set('overflow', overflow.policy)
    if (overflow.messagesMax !== undefined) query.set('overflowMessagesMax', String(overflow.messagesMax))
    if (overflow.bytesMax !== undefined) query.set('overflowBytesMax', String(overflow.bytesMax))
  }
  return query
}

function positionText(from: StartPosition): string {
  if (typeof from === 'string') return from
  if ('offset' in from) return String(from.offset)
  if ('timestampMs' in from) return `@${from.timestampMs}`
  return from.offsets.map(({ partition, offset }) => `${partition}:${offset}`).join(',')
}

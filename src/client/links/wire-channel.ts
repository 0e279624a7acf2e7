/**
 * Requests over a wire socket: each has an id, and waits under it for its reply, a JSON object or a binary frame. When
 * the connection is lost everything that waits is rejected, since nobody knows what became of it.
 */
import type {
  BatchBytes,
  BatchReceipt,
  BrokerPlace,
  Credentials,
  Platform,
  PublishOptions,
} from '../../ports/index.ts'
import {
  type DeliverFrame,
  decodeFrame,
  encodeCredit,
  encodeProduceHeader,
  errorFromJson,
  type LeasedFrame,
  type ProducedFrame,
  parseJson,
  quoteForMessage,
  RatatoskrError,
  requestIdMax,
} from '../../ports/index.ts'
import { type BrokerNow, brokerClock } from '../broker-clock.ts'
import type { WireSocket, WireSocketEvents } from './wire-socket.ts'

/** Where events of subscriptions go. */
export interface WireChannelEvents {
  deliver(frame: DeliverFrame): void
  leased(frame: LeasedFrame): void
  /** An event of a subscription, such as `assigned` or `ended`. */
  event(event: Readonly<Record<string, unknown>>): void
  /** The channel is over: with undefined when it was closed here. */
  over(reason: RatatoskrError | undefined): void
}

interface Waiting {
  resolve(result: unknown): void
  reject(error: RatatoskrError): void
}

// The broker's replies are known to be flat; this only keeps a foreign server from exhausting the stack.
const replyDepthMax = 64
/** What a frame's field for the partition holds. */
const partitionMax = 0x7fffffff
/** A broker that gives no sign of life for twice as long is taken for lost. */
const keepAliveMs = 20_000
/** How long closing waits for the peer. */
const closeTimeoutMs = 2_000

export class WireChannel implements WireSocketEvents {
  readonly #platform: Platform
  readonly #events: WireChannelEvents
  readonly #waiting = new Map<number, Waiting>()
  readonly #gone = Promise.withResolvers<void>()
  #socket: WireSocket | undefined
  #brokerNow: BrokerNow
  #place: BrokerPlace | undefined
  #nextId = 0
  #over: RatatoskrError | undefined
  /** What the broker said before it closed. */
  #fault: RatatoskrError | undefined
  #heard = true
  #keepAlive: Disposable

  constructor(platform: Platform, events: WireChannelEvents) {
    this.#platform = platform
    this.#events = events
    this.#brokerNow = () => platform.clock.now() // until the broker has said hello
    this.#keepAlive = platform.clock.after(keepAliveMs, () => this.#checkAlive())
  }

  /** Introduces this client. @throws RTK_UNAUTHENTICATED, RTK_DISCONNECTED */
  async begin(socket: WireSocket, credentials: Credentials): Promise<void> {
    this.#socket = socket
    const { kind, ...fields } = credentials
    const { clock } = this.#platform
    const askedAtMs = clock.monotonic()
    const hello = (await this.request('hello', kind === 'none' ? {} : fields).catch((error: unknown) => {
      throw this.#fault ?? error // who is turned away is told why
    })) as { readonly timeMs?: unknown; readonly place?: unknown } | undefined
    this.#brokerNow = brokerClock(clock, askedAtMs, hello?.timeMs)
    this.#place = placeOf(hello?.place)
  }

  /** Which of the broker's workers is at the other end; undefined when it has one only. */
  get place(): BrokerPlace | undefined {
    return this.#place
  }

  /** The broker's clock, in Unix milliseconds. */
  brokerNow(): number {
    return this.#brokerNow()
  }

  /** An id that no request in flight has. */
  takeId(): number {
    do this.#nextId = this.#nextId === requestIdMax ? 1 : this.#nextId + 1
    while (this.#waiting.has(this.#nextId))
    return this.#nextId
  }

  /** Asks, and resolves to what the reply holds. @throws the broker's error, RTK_DISCONNECTED, RTK_CLOSED */
  request(op: string, fields: object, id: number = this.takeId()): Promise<unknown> {
    return this.#ask(id, (socket) => socket.sendText(JSON.stringify({ ...fields, op, id })))
  }

  /** Sends batches, and resolves when they are acknowledged. */
  produce(
    topic: string,
    partition: number,
    batch: BatchBytes,
    { durability, lease }: Pick<PublishOptions, 'durability' | 'lease'> = {},
  ): Promise<BatchReceipt> {
    // Sent, it would be a malformed frame, which ends the connection and everything on it.
    if (!Number.isInteger(partition) || partition < 0 || partition > partitionMax) {
      return Promise.reject(
        new RatatoskrError(
          'RTK_INVALID_ARGUMENT',
          `partition must be a whole number from 0 to ${partitionMax}, got ${quoteForMessage(partition)}`,
        ),
      )
    }
    const id = this.takeId()
    const head = encodeProduceHeader(id, topic, partition, durability, lease)
    return this.#ask(id, (socket) => socket.sendBinary(head, batch)) as Promise<BatchReceipt>
  }

  /** Says what needs no reply. */
  notify(op: string, fields: object): void {
    if (this.#over === undefined) this.#socket?.sendText(JSON.stringify({ ...fields, op }))
  }

  credit(id: number, bytes: number, messages?: number): void {
    if (this.#over === undefined) this.#socket?.sendBinary(encodeCredit(id, bytes, messages))
  }

  /** Ends the channel, and resolves when the peer has closed, or does not answer. Idempotent. */
  async close(): Promise<void> {
    this.#end(new RatatoskrError('RTK_CLOSED', 'the connection was closed by this client'), undefined)
    const timer = this.#platform.clock.after(closeTimeoutMs, this.#gone.resolve)
    await this.#gone.promise
    timer[Symbol.dispose]()
  }

  text(text: string): void {
    this.#heard = true
    this.#guarded(() => {
      const frame = parseJson(text, { depthMax: replyDepthMax }) as Readonly<Record<string, unknown>>
      if (typeof frame.id === 'number') this.#reply(frame.id, frame)
      else if (frame.event === 'error') this.#fault = errorFromJson(frame.error)
      else this.#events.event(frame)
    })
  }

  binary(bytes: Uint8Array): void {
    this.#heard = true
    this.#guarded(() => {
      const frame = decodeFrame(bytes)
      if (frame.kind === 'deliver') this.#events.deliver(frame)
      else if (frame.kind === 'leased') this.#events.leased(frame)
      else if (frame.kind === 'produced') this.#take(frame.id)?.resolve(receiptOf(frame))
      else {
        const { kind: _kind, id, ...result } = frame
        this.#take(id)?.resolve(result)
      }
    })
  }

  closed(how: string): void {
    this.#gone.resolve()
    this.#lose(this.#fault?.message ?? how, this.#fault)
  }

  #ask(id: number, send: (socket: WireSocket) => void): Promise<unknown> {
    const socket = this.#socket
    if (this.#over !== undefined || socket === undefined) return Promise.reject(this.#over)
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      send(socket)
    })
  }

  #reply(id: number, frame: Readonly<Record<string, unknown>>): void {
    const waiting = this.#take(id)
    if ('error' in frame) waiting?.reject(errorFromJson(frame.error))
    else waiting?.resolve(frame.ok)
  }

  /** Undefined for the reply to a request that nobody waits for. */
  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    return waiting
  }

  /** A peer whose frames cannot be read is none of ours: the connection is given up. */
  #guarded(read: () => void): void {
    if (this.#over !== undefined) return
    try {
      read()
    } catch (error) {
      this.#lose('the broker sent a frame that cannot be read', error)
    }
  }

  #checkAlive(): void {
    if (!this.#heard) {
      this.#lose('the broker gave no sign of life', undefined)
      return
    }
    this.#heard = false
    this.request('ping', {}).catch(() => {}) // any answer will do, and a loss is noticed elsewhere
    this.#keepAlive = this.#platform.clock.after(keepAliveMs, () => this.#checkAlive())
  }

  #lose(how: string, cause: unknown): void {
    const reason = new RatatoskrError('RTK_DISCONNECTED', `the connection to the broker is lost: ${how}`, {
      cause,
    })
    this.#end(reason, reason)
  }

  #end(rejection: RatatoskrError, reason: RatatoskrError | undefined): void {
    if (this.#over !== undefined) return
    this.#over = rejection
    this.#keepAlive[Symbol.dispose]()
    this.#socket?.close()
    if (this.#socket === undefined) this.#gone.resolve()
    for (const waiting of this.#waiting.values()) waiting.reject(rejection)
    this.#waiting.clear()
    this.#events.over(reason)
  }
}

/** A publish's answer. By name: copying the rest of an object takes longer than all that is done with a lone message here. */
function receiptOf(frame: ProducedFrame): BatchReceipt {
  const { partition, baseOffset, recordCount, durability, duplicate, duplicates } = frame
  const receipt = { partition, baseOffset, recordCount, durability }
  return duplicate === undefined && duplicates === undefined ? receipt : { ...receipt, duplicate, duplicates }
}

/** What a broker of several workers says; undefined for whatever else there is. */
function placeOf(said: unknown): BrokerPlace | undefined {
  const { broker, worker, workers } = (said ?? {}) as Partial<BrokerPlace>
  const known = typeof broker === 'string' && Number.isInteger(worker) && Number.isInteger(workers)
  return known ? (said as BrokerPlace) : undefined
}

/**
 * A member of a queue group over HTTP: reads the frames of one response, and asks by requests beside it. HTTP requests take
 * several connections, where one overtakes another: settlements go one request after the other, and those that come
 * meanwhile share the next one. An answer counts only when the losses that were told before it have been read:
 * it says how many that are.
 */
import {
  type ConsumeOptions,
  decodeFrame,
  errorFromJson,
  isRatatoskrError,
  type LeasedSubscription,
  type LeaseLossReason,
  type LeaseRange,
  type LeaseSink,
  type QueueConfig,
  RatatoskrError,
  type Settlement,
  type SettleResult,
  settleResultsFromJson,
  toRatatoskrError,
} from '../../ports/index.ts'
import type { FrameReader } from './frame-reader.ts'
import type { HttpCalls } from './http-calls.ts'
import { HttpCredit } from './http-credit.ts'
import { eventOf, nextFrame, openFrames } from './http-frames.ts'
import { LeaseInbox } from './lease-inbox.ts'

const closePatienceMs = 2_000

interface Request {
  readonly topicPath: string
  readonly groupPath: string
  readonly options: ConsumeOptions
  readonly sink: LeaseSink
}

interface StreamEvent {
  readonly event: string
  readonly subscription: string
  readonly topic: string
  readonly group: string
  readonly member: string
  readonly config: QueueConfig
  readonly memberTimeoutMs: number
  readonly beginsFrom?: number
  readonly partitions?: readonly number[]
  readonly ranges?: readonly LeaseRange[]
  readonly reason?: LeaseLossReason
  readonly error?: unknown
}

interface Waiting extends PromiseWithResolvers<readonly SettleResult[]> {
  readonly settlements: readonly Settlement[]
}

/** An answer that waits until so many losses have been read. */
interface Answered {
  readonly losses: number
  readonly tell: () => void
}

/** Opens the stream and resolves when the broker has let the member in. */
export async function consumeOverHttp(http: HttpCalls, request: Request): Promise<LeasedSubscription> {
  const { group: _group, ...body } = request.options
  const { reader, accepted, abort } = await openFrames<StreamEvent>(
    http,
    `${request.groupPath}/consume`,
    body,
  )
  return new HttpLeases(http, request, accepted, abort).run(reader)
}

class HttpLeases {
  readonly #http: HttpCalls
  readonly #accepted: StreamEvent
  /** Of its own requests. */
  readonly #path: string
  readonly #abort: AbortController
  readonly #inbox: LeaseInbox
  readonly #forget: () => void
  readonly #credit: HttpCredit
  #settlements: Waiting[] = []
  #settling = false
  /** `lost` events that were read. */
  #losses = 0
  /** In the order of their requests, and so of their losses. */
  #answered: Answered[] = []
  #over = false
  #closing: Promise<void> | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(http: HttpCalls, request: Request, accepted: StreamEvent, abort: AbortController) {
    this.#http = http
    this.#accepted = accepted
    this.#path = `${request.topicPath}/subscriptions/${accepted.subscription}`
    this.#abort = abort
    this.#credit = new HttpCredit(http, this.#path, (error) => this.#fail(error))
    this.#inbox = new LeaseInbox(request.sink, http.clock, () => void this.#close())
    this.#forget = http.beforeClose(() => this.#close())
  }

  /** Reads frames to the end of the stream. */
  run(reader: FrameReader): LeasedSubscription {
    this.#running = this.#read(reader)
      .catch((error: unknown) => toRatatoskrError(error, 'RTK_DISCONNECTED'))
      .then((reason) => this.#ended(reason))
    const { subscription, topic, group, member, config, memberTimeoutMs, beginsFrom = 0 } = this.#accepted
    return {
      id: subscription,
      topic,
      group,
      member,
      config,
      memberTimeoutMs,
      beginsFrom,
      grant: (credit) => this.#credit.grant(credit),
      settle: (settlements) => this.#settle(settlements),
      heartbeat: () => this.#credit.grant({}),
      close: () => this.#close(),
    }
  }

  async #read(reader: FrameReader): Promise<RatatoskrError | undefined> {
    for (;;) {
      const bytes = await nextFrame(this.#http, reader, this.#abort.signal)
      if (this.#over) return undefined
      if (bytes === undefined)
        return new RatatoskrError('RTK_DISCONNECTED', 'the stream of the subscription broke off')
      const event = eventOf<StreamEvent>(bytes)
      if (event?.event === 'ended') return event.error === undefined ? undefined : errorFromJson(event.error)
      if (event === undefined) this.#leased(bytes)
      else if (event.event === 'assigned') this.#inbox.assigned(event.partitions ?? [])
      else if (event.event === 'lost') {
        this.#inbox.lost(event.ranges ?? [], event.reason ?? 'moved')
        this.#losses++
        this.#tellAnswers()
      }
    }
  }

  /** Passes on the answers whose losses have been read; all of them when no more will be. */
  #tellAnswers(): void {
    while (this.#answered.length > 0 && (this.#over || this.#answered[0].losses <= this.#losses)) {
      this.#answered.shift()?.tell()
    }
  }

  #leased(bytes: Uint8Array): void {
    const frame = decodeFrame(bytes)
    if (frame.kind !== 'leased') {
      throw new RatatoskrError('RTK_FRAME_MALFORMED', `a frame of kind ${frame.kind} came to a queue group`)
    }
    const { kind: _kind, id: _id, ...batch } = frame
    this.#inbox.deliver(batch)
  }

  #ended(reason: RatatoskrError | undefined): void {
    this.#forget()
    this.#abort.abort()
    this.#credit.end()
    if (this.#over) return
    this.#over = true
    if (isRatatoskrError(reason, 'RTK_CLOSED')) this.#inbox.end(undefined)
    else this.#inbox.ended(reason)
    this.#tellAnswers()
  }

  async #settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    if (this.#over) throw new RatatoskrError('RTK_CLOSED', 'the subscription is closed')
    const waiting = { ...Promise.withResolvers<readonly SettleResult[]>(), settlements }
    this.#settlements.push(waiting)
    if (!this.#settling) void this.#settleAll()
    return waiting.promise
  }

  async #settleAll(): Promise<void> {
    this.#settling = true
    while (this.#settlements.length > 0) {
      const together = this.#settlements.splice(0)
      try {
        await this.#settleTogether(together)
      } catch (error) {
        if (together.length === 1 || !isRatatoskrError(error, 'RTK_INVALID_ARGUMENT')) {
          for (const { reject } of together) reject(error)
        } else {
          // One of them was wrong, and nothing was done: each gets an answer of its own.
          for (const waiting of together) await this.#settleTogether([waiting]).catch(waiting.reject)
        }
      }
    }
    this.#settling = false
  }

  async #settleTogether(together: readonly Waiting[]): Promise<void> {
    const settlements = together.flatMap((waiting) => waiting.settlements)
    const reply = await this.#http.json<{ results?: unknown; losses?: number }>(
      'POST',
      `${this.#path}/settle`,
      {
        settlements,
      },
    )
    const results = settleResultsFromJson(reply.results, settlements.length)
    const tell = (): void => {
      let at = 0
      for (const { settlements, resolve } of together) {
        resolve(results.slice(at, at + settlements.length))
        at += settlements.length
      }
    }
    this.#answered.push({ losses: reply.losses ?? 0, tell })
    this.#tellAnswers()
  }

  #fail(error: RatatoskrError): void {
    if (this.#over) return
    this.#inbox.end(error)
    void this.#close()
  }

  #close(): Promise<void> {
    this.#closing ??= this.#closeNow()
    return this.#closing
  }

  async #closeNow(): Promise<void> {
    if (!this.#over) {
      this.#over = true
      this.#credit.end()
      this.#inbox.end(undefined)
      this.#tellAnswers()
      // The broker must know before we say that it is over: what was leased comes again from here on.
      const patience = this.#http.clock.after(closePatienceMs, () => this.#abort.abort())
      await this.#http.json('DELETE', this.#path, undefined, this.#abort.signal).catch(() => undefined)
      patience[Symbol.dispose]()
      this.#abort.abort()
    }
    await this.#running
  }
}

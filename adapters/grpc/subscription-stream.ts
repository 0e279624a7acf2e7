/**
 * What the streams of `Consume` have in common, to a topic and to a queue group: the first request opens a subscription, what
 * comes before the client knows that it stands waits, and the stream and the subscription end with each other.
 */
import type { MaybePromise, Session } from 'ratatoskr/ports'
import { RatatoskrError } from 'ratatoskr/ports'
import { frameOf, type MessageFrame } from 'ratatoskr/proto'
import {
  type CallHost,
  failure,
  InFlight,
  type OpenStream,
  StreamWriter,
  stopping,
  withSession,
} from './calls.ts'
import type { DuplexCall } from './data-stream.ts'
import { type Incoming, readable } from './status.ts'

export type SubscriptionCall<Request> = DuplexCall<Incoming<Request>>

/** Starts a stream as soon as its caller is known. */
export function started<Request>(
  host: CallHost,
  call: SubscriptionCall<Request>,
  stream: { run(session: Session): void; end(thrown: unknown): void },
): void {
  withSession(
    host,
    call,
    (session) => stream.run(session),
    (error) => stream.end(error),
  )
}

/**
 * Bytes of batches that may wait for the connection before the broker must: with none, the connection would wait for the
 * broker after each delivery. Beyond it comes one delivery at most. Messages gather meanwhile, and so go one write at a time.
 */
export const batchBytesWaitingMax = 256 * 1024

export abstract class SubscriptionStream<
  Request extends { readonly open?: unknown },
  Opened extends { close(): Promise<void> },
> implements OpenStream
{
  protected readonly host: CallHost
  protected readonly call: SubscriptionCall<Request>
  /** One write at a time, but for batches: a slow reader holds up its subscription, and nothing piles up. */
  protected readonly writer: StreamWriter<MessageFrame>
  /** Requests that are not yet answered: reading pauses above a bound. */
  protected readonly answering: InFlight
  protected readonly opened = Promise.withResolvers<void>()
  protected subscription: Opened | undefined
  #opening = false
  /** What came from the broker before the client knew that the subscription stands. */
  #early: (() => void)[] | undefined = []

  constructor(host: CallHost, call: SubscriptionCall<Request>, answeringMax: number) {
    this.host = host
    this.call = call
    this.writer = new StreamWriter(call, 0)
    this.answering = new InFlight(call, answeringMax, Number.POSITIVE_INFINITY)
    host.streams.add(this)
    call.once('cancelled', () => {
      host.streams.delete(this)
      this.#close()
    })
  }

  /** Opens the subscription that the first request asks for; what it throws ends the stream. */
  protected abstract open(session: Session, request: Request): Promise<Opened>
  /** Carries out a request after the first; what it throws ends the stream. */
  protected abstract handle(request: Request): void
  /** The first response: the subscription stands. */
  protected abstract standing(subscription: Opened): Uint8Array

  run(session: Session): void {
    const call = this.call
    call.on('data', (request: Incoming<Request>) => {
      if (this.writer.over) return
      try {
        this.#take(session, readable(request))
      } catch (error) {
        this.end(error)
      }
    })
    call.once('end', () => {
      if (!this.#opening) this.end(invalid('the stream ended before its first request, which must be `open`'))
      else this.answering.whenIdle(() => this.#close())
    })
    call.resume()
  }

  drain(): void {
    this.end(stopping())
  }

  /** Ends the stream, and with it the subscription. */
  end(thrown?: unknown): void {
    this.host.streams.delete(this)
    this.writer.end(thrown === undefined ? undefined : failure(this.host, thrown))
    this.opened.resolve()
    this.#close()
  }

  /** True until the client knows that the subscription stands, or the stream is over. */
  protected get isEarly(): boolean {
    return this.#early !== undefined && !this.writer.over
  }

  protected afterOpening(run: () => void): void {
    if (this.#early === undefined) run()
    else this.#early.push(run)
  }

  protected send(response: Uint8Array): MaybePromise<void> {
    return this.writer.over ? undefined : this.writer.write(frameOf(response), response.length)
  }

  /** Small responses are not waited for: there is one for each thing the client or the group did. */
  protected respond(response: Uint8Array): void {
    unheard(this.send(response))
  }

  #take(session: Session, request: Request): void {
    if (this.#opening) {
      this.handle(request)
      return
    }
    if (request.open === undefined) throw invalid('the first request of the stream must be `open`')
    this.#opening = true
    const opening = this.open(session, request)
    // Requests that come meanwhile wait in the stream.
    this.call.pause()
    opening.then(
      (subscription) => this.#stand(subscription),
      (error: unknown) => this.end(error),
    )
  }

  #stand(subscription: Opened): void {
    this.subscription = subscription
    if (this.writer.over) {
      this.#close()
      return
    }
    this.respond(this.standing(subscription))
    const early = this.#early ?? []
    this.#early = undefined
    for (const run of early) run()
    this.opened.resolve()
    this.call.resume()
  }

  #close(): void {
    this.subscription?.close().catch((error: unknown) => {
      this.host.logger.warn('subscription did not close', { error })
    })
  }
}

/** For a write whose failure the stream's end tells. */
export const unheard = (writing: MaybePromise<void>): void => {
  if (writing !== undefined) writing.catch(() => undefined)
}

export const invalid = (message: string): RatatoskrError =>
  new RatatoskrError('RTK_INVALID_ARGUMENT', message)

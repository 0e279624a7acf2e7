/**
 * A unary call, served from its stream itself: the message is put together as it comes, counted as long as the call keeps it,
 * and answered in one go. The machinery of gRPC libraries costs many times what a publish does.
 */
import { isRatatoskrError, type MaybePromise, RatatoskrError, type Session } from 'ratatoskr/ports'
import { FrameError, framePrefixBytes, frameWithBody, status } from 'ratatoskr/proto'
import { type CallEnd, type CallTerms, okTrailers, trailersOf } from './call-headers.ts'
import type { CallStream, StreamSink } from './call-stream.ts'
import { type CallHost, type Deadline, deadlineOf, expired, failure } from './calls.ts'
import type { Caller, Connection } from './connections.ts'
import { MessageBody } from './message-body.ts'
import { type Incoming, readable, statusOf } from './status.ts'

/** What serving a call of a method needs. */
export interface UnaryMethod<Request, Response> {
  /** Does not throw: see `Malformed`. */
  readonly decode: (message: Uint8Array) => Incoming<Request>
  readonly encode: (response: Response) => Uint8Array
  readonly serve: (call: UnaryCall<Request, Response>) => void
  /** Largest request to accept, also when it is expanded. */
  readonly bytesMax: number
  /** Of a call that may wait for messages, or whose answer may be large: so many of a connection. */
  readonly inFlightMax: number | undefined
  /** Strangers may make such calls, too. */
  readonly isForAnyone: boolean
}

export class UnaryCall<Request, Response> implements Caller, StreamSink {
  readonly #host: CallHost
  readonly #stream: CallStream
  readonly #method: UnaryMethod<Request, Response>
  readonly #terms: CallTerms
  readonly #body: MessageBody
  readonly #deadline: Deadline | undefined
  #request: Incoming<Request> | undefined
  /** Bytes that the connection is told to keep for this call. */
  #bytesKept = 0
  #controller: AbortController | undefined
  /** It has its answer, or nobody waits for one. */
  #settled = false

  constructor(host: CallHost, stream: CallStream, method: UnaryMethod<Request, Response>, terms: CallTerms) {
    this.#host = host
    this.#stream = stream
    this.#method = method
    this.#terms = terms
    this.#body = new MessageBody(method.bytesMax)
    const { timeoutMs } = terms
    if (timeoutMs !== undefined) this.#deadline = deadlineOf(host, timeoutMs, () => this.#expire())
    stream.open(this)
  }

  get connection(): Connection | undefined {
    return this.#stream.connection
  }

  get authorization(): string {
    return this.#stream.headers.authorization ?? ''
  }

  get cancelled(): boolean {
    return this.#settled
  }

  get bytesWaiting(): number {
    return this.#stream.bytesWaiting
  }

  /** Once it is served. @throws RTK_FRAME_MALFORMED; RTK_INVALID_ARGUMENT for a number that cannot be told exactly */
  get request(): Request {
    return readable(this.#request as Incoming<Request>)
  }

  /**
   * Aborts what waits for the call: when the caller cancels or is gone, and when the deadline passes. A publish is not to be
   * cancelled once it has begun, and needs none.
   */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#settled) this.#controller.abort()
    return this.#controller.signal
  }

  succeed(response: Response): void {
    if (this.#settled) return
    let bytes: Uint8Array
    try {
      bytes = this.#method.encode(response)
    } catch (error) {
      this.fail(error)
      return
    }
    this.#settle()
    if (this.#stream.isOver) return
    this.#stream.write(frameWithBody(Buffer.allocUnsafe(framePrefixBytes), bytes))
    this.#stream.end(okTrailers)
  }

  fail(thrown: unknown): void {
    if (!this.#settled) this.end(failure(this.#host, thrown))
  }

  data(chunk: Uint8Array): void {
    if (this.#settled) return
    try {
      this.#body.push(chunk)
      this.#keep(this.#body.bytesKept)
    } catch (error) {
      this.#refuse(error)
    }
  }

  halfClosed(): void {
    if (this.#settled) return
    try {
      const message = this.#body.end()
      if (this.#body.isCompressed) this.#expand(message)
      else this.#serve(message)
    } catch (error) {
      this.#refuse(error)
    }
  }

  closed(): void {
    this.connection?.use.leave(this, this.#method.inFlightMax)
    if (this.#settled) return
    this.#settle()
    this.#controller?.abort()
  }

  #expand(message: Uint8Array): void {
    const use = this.connection?.use
    if (use === undefined) return
    const { bytesMax } = this.#method
    use.expand(message, this.#terms.encoding, bytesMax).then(
      (expanded) => {
        if (this.#settled) return
        try {
          this.#keep(this.#bytesKept + expanded.length)
          this.#serve(expanded)
        } catch (error) {
          this.#refuse(error)
        }
      },
      (error: unknown) => this.#refuse(error),
    )
  }

  #serve(message: Uint8Array): void {
    this.#request = this.#method.decode(message)
    this.#method.serve(this)
  }

  /** Ends a call whose request cannot be taken. */
  #refuse(error: unknown): void {
    if (this.#settled) return
    if (error instanceof FrameError) {
      const code = error.isTooLarge ? status.RESOURCE_EXHAUSTED : status.INTERNAL
      this.end({ code, details: error.message })
    } else if (isRatatoskrError(error)) this.end(statusOf(error))
    else this.fail(error)
  }

  #expire(): void {
    if (this.#settled) return
    this.end(expired)
    this.#controller?.abort()
  }

  /** Ends with a status that is no error of ours. */
  end(end: CallEnd): void {
    if (this.#settled) return
    this.#settle()
    if (!this.#stream.isOver) this.#stream.end(trailersOf(end))
  }

  #settle(): void {
    this.#settled = true
    this.#deadline?.[Symbol.dispose]()
    this.#keep(0)
  }

  /** @throws RTK_OVERLOADED when the calls of the connection together keep too much */
  #keep(bytes: number): void {
    const more = bytes - this.#bytesKept
    if (more === 0) return
    this.#bytesKept = bytes
    this.connection?.use.keep(more)
  }
}

export type UnaryHandler<Request, Response> = (call: UnaryCall<Request, Response>) => void

/** A unary method out of a function from session and request to response. */
export const unary =
  <Request, Response>(
    host: CallHost,
    handle: (
      session: Session,
      request: Request,
      call: { readonly signal: AbortSignal },
    ) => MaybePromise<Response>,
  ): UnaryHandler<Request, Response> =>
  (call) => {
    const answer = (session: Session): MaybePromise<Response> => {
      if (call.cancelled) throw new RatatoskrError('RTK_CANCELLED', 'the caller is gone')
      // Who calls comes first: a stranger is not told what is wrong with a request.
      return handle(session, call.request, call)
    }
    try {
      const session = host.connections.session(call)
      const response = session instanceof Promise ? session.then(answer) : answer(session)
      if (response instanceof Promise) {
        response.then(
          (value) => call.succeed(value),
          (error: unknown) => call.fail(error),
        )
      } else call.succeed(response)
    } catch (error) {
      call.fail(error)
    }
  }

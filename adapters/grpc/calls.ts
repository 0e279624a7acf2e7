/** What every handler needs: the session of the call, its cancellation, its answer or failure, and writing without piling up. */
import type {
  handleUnaryCall,
  Metadata,
  MethodDefinition,
  ServerUnaryCall,
  sendUnaryData,
} from '@grpc/grpc-js'
import {
  type Logger,
  type MaybePromise,
  RatatoskrError,
  type Session,
  toRatatoskrError,
} from 'ratatoskr/ports'
import type { Caller, Connections } from './connections.ts'
import { type FailedStatus, type Incoming, Malformed, readable, statusOf } from './status.ts'

/** Streams that do not end by themselves, and so must be ended when the transport stops. */
export interface OpenStream {
  /** Takes no more work, finishes what is in flight, and ends with RTK_UNAVAILABLE. */
  drain(): void
}

/** What the handlers share. */
export interface CallHost {
  readonly connections: Connections
  readonly streams: Set<OpenStream>
  readonly logger: Logger
}

/** The status of a failure. Bugs are logged here, where the cause is still known; it never leaves the process. */
export function failure(host: CallHost, thrown: unknown): FailedStatus {
  const error = toRatatoskrError(thrown)
  if (error.kind === 'internal') host.logger.error('gRPC call failed', { error, cause: error.cause })
  return statusOf(error)
}

/** Calls `run` with the session of a stream, now or when the broker has let the caller in; `failed` when it does not. */
export function withSession(
  host: CallHost,
  call: Caller,
  run: (session: Session) => void,
  failed: (error: unknown) => void,
): void {
  try {
    const session = host.connections.session(call)
    if (session instanceof Promise) session.then(run, failed)
    else run(session)
  } catch (error) {
    failed(error)
  }
}

export const stopping = (): RatatoskrError =>
  new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping; connect again after a pause')

/** A unary method out of a function from session and request to response. */
export function unary<Request, Response>(
  host: CallHost,
  handle: (session: Session, request: Request, call: CallSignal) => MaybePromise<Response>,
): handleUnaryCall<Request, Response> {
  return (call: ServerUnaryCall<Incoming<Request>, Response>, callback: sendUnaryData<Response>) => {
    const signal = new CallSignal(call)
    const succeed = (response: Response): void => {
      signal.settled()
      callback(null, response)
    }
    const fail = (error: unknown): void => {
      signal.settled()
      callback(failure(host, error))
    }
    const answer = (session: Session): MaybePromise<Response> => {
      if (call.cancelled) throw new RatatoskrError('RTK_CANCELLED', 'the caller is gone')
      return handle(session, request, signal)
    }
    let request: Request
    try {
      request = readable(call.request)
      const session = host.connections.session(call)
      const response = session instanceof Promise ? session.then(answer) : answer(session)
      if (response instanceof Promise) response.then(succeed, fail)
      else succeed(response)
    } catch (error) {
      fail(error)
    }
  }
}

/**
 * Cancels what waits for a call: when the caller cancels or is gone, and when the call's deadline passes. A publish is not
 * to be cancelled once it has begun, and grpc-js answers for it in time: it needs none, which would cost more than the call.
 */
export class CallSignal {
  readonly #call: ServerUnaryCall<unknown, unknown>
  #controller: AbortController | undefined
  #settled = false

  constructor(call: ServerUnaryCall<unknown, unknown>) {
    this.#call = call
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController()
      this.#controller = controller
      // grpc-js answers DEADLINE_EXCEEDED by itself; whatever the reason, nobody waits for this call any more.
      if (this.#call.cancelled) controller.abort()
      else this.#call.once('cancelled', () => this.#settled || controller.abort())
    }
    return this.#controller.signal
  }

  /** The call has its answer. grpc-js tells the end of every call as it tells that one is cancelled. */
  settled(): void {
    this.#settled = true
  }
}

/** The methods of a service with decoders that do not throw: see `Malformed`. */
export function tolerant<Service extends Readonly<Record<string, Method>>>(service: Service): Service {
  const methods = Object.entries(service).map(([name, method]) => {
    const requestDeserialize = (bytes: Buffer): unknown => {
      try {
        return method.requestDeserialize(bytes)
      } catch {
        return new Malformed(method.path, bytes)
      }
    }
    return [name, { ...method, requestDeserialize }]
  })
  return Object.fromEntries(methods)
}

// biome-ignore lint/suspicious/noExplicitAny: grpc-js itself types the methods of a service so
type Method = MethodDefinition<any, any>

/** The writing half of a streaming call. */
interface Sink<Response> {
  write(response: Response, written: (error?: Error | null) => void): boolean
  end(metadata?: Metadata): void
  emit(event: 'error', status: FailedStatus): boolean
  once(event: 'cancelled', listener: () => void): unknown
  readonly cancelled: boolean
}

/**
 * Writes to a stream and tells when to wait: grpc-js buffers whatever it is given, and forgets the callbacks of writes
 * to a call that was cancelled.
 */
export class StreamWriter<Response> {
  readonly #sink: Sink<Response>
  /** Bytes that may wait for the transport before writers must: 0 for one write at a time. */
  bytesMax: number
  #pendingBytes = 0
  #waiting: PromiseWithResolvers<void> | undefined
  #over = false

  constructor(sink: Sink<Response>, bytesMax: number) {
    this.#sink = sink
    this.bytesMax = bytesMax
    if (sink.cancelled) this.#cancel()
    else sink.once('cancelled', () => this.#cancel())
  }

  /** True once the stream has ended or was cancelled: writing does nothing then. */
  get over(): boolean {
    return this.#over
  }

  /** Writes. @returns a promise when the caller must wait before it writes again, rejecting with RTK_DISCONNECTED */
  write(response: Response, sizeBytes: number, written?: () => void): MaybePromise<void> {
    if (this.#over) throw gone()
    this.#pendingBytes += sizeBytes
    this.#sink.write(response, () => {
      this.#written(sizeBytes)
      written?.()
    })
    if (this.#pendingBytes <= this.bytesMax) return undefined
    this.#waiting ??= Promise.withResolvers()
    return this.#waiting.promise
  }

  /** Ends the stream after what was written, well or with a status. */
  end(status?: FailedStatus): void {
    if (this.#over) return
    this.#over = true
    if (status === undefined) this.#sink.end()
    else this.#sink.emit('error', status)
    this.#release()
  }

  #written(sizeBytes: number): void {
    this.#pendingBytes -= sizeBytes
    if (this.#pendingBytes <= this.bytesMax) this.#release()
  }

  #release(): void {
    this.#waiting?.resolve()
    this.#waiting = undefined
  }

  #cancel(): void {
    this.#over = true
    this.#waiting?.promise.catch(() => undefined)
    this.#waiting?.reject(gone())
    this.#waiting = undefined
  }
}

const gone = (): RatatoskrError => new RatatoskrError('RTK_DISCONNECTED', 'the peer is gone')

/** Work in flight of one stream: reading pauses while there is too much of it. */
export class InFlight {
  readonly #input: { pause(): unknown; resume(): unknown }
  readonly #bytesMax: number
  readonly #countMax: number
  #bytes = 0
  #count = 0
  #paused = false
  #idle: (() => void) | undefined

  constructor(input: { pause(): unknown; resume(): unknown }, countMax: number, bytesMax: number) {
    this.#input = input
    this.#countMax = countMax
    this.#bytesMax = bytesMax
  }

  enter(bytes: number): void {
    this.#count++
    this.#bytes += bytes
    if (this.#count >= this.#countMax || this.#bytes >= this.#bytesMax) {
      this.#paused = true
      this.#input.pause()
    }
  }

  leave(bytes: number): void {
    this.#count--
    this.#bytes -= bytes
    if (this.#paused && this.#count < this.#countMax && this.#bytes < this.#bytesMax) {
      this.#paused = false
      this.#input.resume()
    }
    if (this.#count === 0) this.#idle?.()
  }

  /** Calls `run` once nothing is in flight: now, if so. No more may enter. */
  whenIdle(run: () => void): void {
    this.#idle = run
    if (this.#count === 0) run()
  }
}

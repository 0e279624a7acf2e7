/** What every handler needs: the session of the call, its cancellation, its answer or failure, and writing without piling up. */
import {
  type Clock,
  type Logger,
  type MaybePromise,
  RatatoskrError,
  type Session,
  toRatatoskrError,
} from 'ratatoskr/ports'
import { status } from 'ratatoskr/proto'
import type { CallEnd } from './call-headers.ts'
import type { Caller, Connections } from './connections.ts'
import { type FailedStatus, statusOf } from './status.ts'

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
  readonly clock: Clock
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

/** Ends a call in time. */
export type Deadline = Disposable

/** Calls `run` when the time of a call is over. */
export const deadlineOf = ({ clock }: CallHost, timeoutMs: number, run: () => void): Deadline =>
  clock.after(timeoutMs, run)

/** What a call ends with whose time is over. */
export const expired: CallEnd = {
  code: status.DEADLINE_EXCEEDED,
  details: 'the deadline of the call has passed',
}

/** The writing half of a streaming call. */
interface Sink<Response> {
  write(response: Response, written: (error?: Error | null) => void): boolean
  end(): void
  fail(failed: FailedStatus): void
  once(event: 'cancelled', listener: () => void): unknown
  readonly cancelled: boolean
}

/**
 * Writes to a stream and tells when to wait: a stream buffers whatever it is given, and forgets the callbacks of
 * writes to a call that was cancelled.
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
    else this.#sink.fail(status)
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

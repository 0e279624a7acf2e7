/**
 * A call with a stream of requests or of responses, as its handler sees it. Messages are put together where they come, and a
 * response goes out from where it lies.
 */
import { EventEmitter } from 'node:events'
import { constants } from 'node:http2'
import { takeBytes } from 'ratatoskr/adapters/frames'
import { isRatatoskrError } from 'ratatoskr/ports'
import { FrameError, FrameReader, type MessageFrame, status } from 'ratatoskr/proto'
import { type CallEnd, type CallTerms, okTrailers, trailersOf } from './call-headers.ts'
import type { CallStream, StreamSink } from './call-stream.ts'
import { type CallHost, type Deadline, deadlineOf, expired } from './calls.ts'
import type { Caller, Connection } from './connections.ts'
import { statusOf } from './status.ts'

/** What the handlers of the data plane use of a duplex call. */
export interface DuplexCall<Request> extends Caller {
  readonly cancelled: boolean
  on(event: 'data', listener: (request: Request) => void): unknown
  /** `end` when the client has half-closed; `cancelled` when the call is over, whoever ended it. */
  once(event: 'end' | 'cancelled', listener: () => void): unknown
  pause(): unknown
  resume(): unknown
  /** Tells the client that it is served, before there is a response. */
  begin(): void
  write(response: MessageFrame, written?: () => void): boolean
  /** Ends with OK. */
  end(): void
  /** Ends with another status. */
  fail(failed: CallEnd): void
}

/** What serving a call of a method needs. */
export interface StreamMethod<Request> {
  /** Does not throw: see `Malformed`. */
  readonly decode: (message: Uint8Array) => Request
  readonly serve: (call: DuplexCall<Request>) => void
  /** Largest request to accept, also when it is expanded. */
  readonly bytesMax: number
  /** Of a call whose answers may be large: so many of a connection. */
  readonly inFlightMax: number | undefined
  /** Strangers may make such calls, too. */
  readonly isForAnyone: boolean
}

export class DataStream<Request> extends EventEmitter implements DuplexCall<Request>, StreamSink {
  readonly #reader: FrameReader
  readonly #stream: CallStream
  readonly #method: StreamMethod<Request>
  readonly #terms: CallTerms
  readonly #deadline: Deadline | undefined
  /** Bytes that the connection is told to keep for this stream. */
  #bytesKept = 0
  /** The handler wants no more for now. */
  #isPaused = true
  /** A message is being expanded, and those behind it wait. */
  #isExpanding = false
  #halfClosed = false
  #ended = false
  #toldOver = false

  constructor(host: CallHost, stream: CallStream, method: StreamMethod<Request>, terms: CallTerms) {
    super()
    this.#stream = stream
    this.#method = method
    this.#terms = terms
    this.#reader = new FrameReader(
      method.bytesMax,
      (message, isCompressed) => {
        if (isCompressed) this.#expand(message)
        else this.emit('data', method.decode(message))
      },
      terms.encoding !== 'identity',
      takeBytes,
    )
    stream.open(this)
    // Until there is someone to give requests to.
    this.#reader.pause()
    stream.pauseReading()
    const { timeoutMs } = terms
    if (timeoutMs !== undefined) this.#deadline = deadlineOf(host, timeoutMs, () => this.#expire())
  }

  get connection(): Connection | undefined {
    return this.#stream.connection
  }

  get authorization(): string {
    return this.#stream.headers.authorization ?? ''
  }

  get bytesWaiting(): number {
    return this.#stream.bytesWaiting
  }

  get cancelled(): boolean {
    return this.#toldOver || this.#stream.isOver
  }

  pause(): void {
    this.#isPaused = true
    this.#pauseReading()
  }

  resume(): void {
    this.#isPaused = false
    this.#resumeReading()
  }

  begin(): void {
    if (!this.#ended && !this.cancelled) this.#stream.begin()
  }

  write(response: MessageFrame, written?: () => void): boolean {
    if (this.#ended || this.cancelled) return false
    return this.#stream.write(response, written)
  }

  end(): void {
    this.#finish()
  }

  fail(failed: CallEnd): void {
    this.#finish(failed)
  }

  data(chunk: Uint8Array): void {
    if (this.#ended) return
    try {
      this.#reader.copy(chunk)
      this.#keep()
    } catch (error) {
      this.#refuse(error)
    }
  }

  halfClosed(): void {
    this.#halfClosed = true
    this.#tellEnd()
  }

  closed(): void {
    this.connection?.use.leave(this, this.#method.inFlightMax)
    this.#deadline?.[Symbol.dispose]()
    this.#reader.close()
    this.#keep()
    this.#tellOver()
  }

  #pauseReading(): void {
    if (this.#ended) return
    this.#reader.pause()
    this.#stream.pauseReading()
  }

  #resumeReading(): void {
    // Writes end with their stream, and then nobody waits for what is still to be read.
    if (this.cancelled || this.#isPaused || this.#isExpanding) return
    this.#stream.resumeReading()
    try {
      this.#reader.resume()
      this.#keep()
    } catch (error) {
      this.#refuse(error)
    }
    if (this.#halfClosed) this.#tellEnd()
  }

  #expand(message: Uint8Array): void {
    const { connection } = this
    if (connection === undefined) return
    this.#isExpanding = true
    this.#pauseReading()
    const { bytesMax, decode } = this.#method
    connection.use.expand(message, this.#terms.encoding, bytesMax).then(
      (expanded) => {
        this.#isExpanding = false
        if (this.#ended) return
        this.emit('data', decode(expanded))
        this.#resumeReading()
      },
      (error: unknown) => this.#refuse(error),
    )
  }

  #expire(): void {
    this.#finish(expired)
    this.#tellOver()
  }

  #tellOver(): void {
    if (this.#toldOver) return
    this.#toldOver = true
    this.emit('cancelled')
  }

  /** Tells a client what of it cannot be read. */
  #refuse(error: unknown): void {
    if (this.#ended) return
    if (isRatatoskrError(error, 'RTK_OVERLOADED')) {
      const stream = this.#stream
      // Behind answers that the client does not take, a status would not reach it.
      const isStuck = stream.bytesWaiting > 0
      this.#finish(statusOf(error))
      if (isStuck) stream.reset(constants.NGHTTP2_ENHANCE_YOUR_CALM)
      return
    }
    if (!(error instanceof FrameError)) throw error
    const code = error.isTooLarge ? status.RESOURCE_EXHAUSTED : status.INTERNAL
    this.#finish({ code, details: error.message })
  }

  /** @throws RTK_OVERLOADED when the streams of the connection together keep too much */
  #keep(): void {
    const more = this.#reader.bytesKept - this.#bytesKept
    if (more === 0) return
    this.#bytesKept += more
    this.connection?.use.keep(more)
  }

  #tellEnd(): void {
    if (this.#ended || this.#reader.isPaused || this.#isExpanding) return
    if (this.#reader.isAtEnd) this.emit('end')
    else this.#finish({ code: status.INTERNAL, details: 'the stream ended within a message' })
  }

  /** @param end another than OK */
  #finish(end?: CallEnd): void {
    if (this.#ended) return
    const isOver = this.cancelled
    this.#ended = true
    this.#deadline?.[Symbol.dispose]()
    this.#reader.close()
    this.#keep()
    if (!isOver) this.#stream.end(end === undefined ? okTrailers : trailersOf(end))
  }
}

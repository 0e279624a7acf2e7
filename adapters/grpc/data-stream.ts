/**
 * A stream of the data plane, served from HTTP/2 itself: grpc-js copies what it writes once and what it reads once more than
 * needed, and spends a promise and an event on each message. To the handlers it is what a duplex call of grpc-js is; a request
 * that asks for more than the plain case, a deadline or compression, is left to grpc-js.
 */
import { EventEmitter } from 'node:events'
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { Metadata, status } from '@grpc/grpc-js'
import { FrameError, FrameReader, type MessageFrame, type Reading, readStream } from 'ratatoskr/proto'
import type { FailedStatus } from './status.ts'

/** What the handlers of the data plane use of a duplex call. */
export interface DuplexCall<Request> {
  readonly metadata: Metadata
  readonly cancelled: boolean
  getPeer(): string
  on(event: 'data', listener: (request: Request) => void): unknown
  /** `end` when the client has half-closed; `cancelled` when the call is over, whoever ended it. */
  once(event: 'end' | 'cancelled', listener: () => void): unknown
  pause(): unknown
  resume(): unknown
  write(response: MessageFrame, written: () => void): boolean
  /** Ends with OK. */
  end(): void
  /** Ends with another status. */
  emit(event: 'error', failed: FailedStatus): boolean
}

const responseHeaders: OutgoingHttpHeaders = { ':status': 200, 'content-type': 'application/grpc+proto' }
const contentType = /^application\/grpc(?:\+proto)?(?:;|$)/

/** True for a request that needs nothing of grpc-js. */
export const isPlain = (headers: IncomingHttpHeaders): boolean =>
  headers[':method'] === 'POST' &&
  contentType.test(headers['content-type'] ?? '') &&
  headers['grpc-timeout'] === undefined &&
  (headers['grpc-encoding'] ?? 'identity') === 'identity'

export class DataStream<Request> extends EventEmitter implements DuplexCall<Request> {
  readonly metadata: Metadata
  readonly #stream: ServerHttp2Stream
  readonly #reader: FrameReader
  readonly #reading: Reading
  #halfClosed = false
  #ended = false

  /**
   * @param decode makes a request of a message; does not throw
   * @param bytesMax largest message to accept
   */
  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    decode: (message: Uint8Array) => Request,
    bytesMax: number,
  ) {
    super()
    this.#stream = stream
    this.metadata = Metadata.fromHttp2Headers(headers)
    this.#reader = new FrameReader(bytesMax, (message) => {
      this.emit('data', decode(message))
    })
    this.#reading = readStream(stream, this.#reader, (take) => this.#came(take))
    this.pause() // until there is someone to give requests to
    stream.once('end', () => {
      this.#halfClosed = true
      this.#tellEnd()
    })
    stream.on('error', () => undefined) // 'close' follows and is what counts
    stream.once('close', () => this.emit('cancelled'))
    this.on('error', (failed: FailedStatus) => this.#finish(failed))
  }

  get cancelled(): boolean {
    return this.#stream.destroyed || this.#stream.closed
  }

  getPeer(): string {
    const socket = this.#stream.session?.socket
    return `${socket?.remoteAddress}:${socket?.remotePort}`
  }

  pause(): void {
    if (this.#ended) return
    this.#reader.pause()
    this.#reading.pause()
  }

  resume(): void {
    this.#reading.resume()
    this.#came(() => this.#reader.resume())
    if (this.#halfClosed) this.#tellEnd()
  }

  write(response: MessageFrame, written: () => void): boolean {
    const stream = this.#stream
    if (this.#ended || this.cancelled) return false
    if (!stream.headersSent) stream.respond(responseHeaders, { waitForTrailers: true })
    const [head, body] = response
    if (body === undefined) return stream.write(head, written)
    stream.cork()
    stream.write(head)
    const hasRoom = stream.write(body, written)
    stream.uncork()
    return hasRoom
  }

  end(): void {
    this.#finish({ code: status.OK, details: 'OK' })
  }

  /** Lets the reader work; a client that cannot be read is told so. */
  #came(work: () => void): void {
    if (this.#ended) return
    try {
      work()
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      const code = error.isTooLarge ? status.RESOURCE_EXHAUSTED : status.INTERNAL
      this.#finish({ code, details: error.message })
    }
  }

  #tellEnd(): void {
    if (this.#ended || this.#reader.isPaused) return
    if (this.#reader.isAtEnd) this.emit('end')
    else this.#finish({ code: status.INTERNAL, details: 'the stream ended within a message' })
  }

  #finish({ code, details, metadata }: Omit<FailedStatus, 'metadata'> & Partial<FailedStatus>): void {
    if (this.#ended) return
    this.#ended = true
    this.#reader.close()
    const stream = this.#stream
    if (this.cancelled) return
    const trailers: OutgoingHttpHeaders = {
      'grpc-status': code,
      'grpc-message': encodeURI(details),
      ...metadata?.toHttp2Headers(),
    }
    if (stream.headersSent) {
      stream.once('wantTrailers', () => stream.sendTrailers(trailers))
      stream.end()
    } else stream.respond({ ...responseHeaders, ...trailers }, { endStream: true })
    this.#reading.resume() // what the client still sends is dropped
  }
}

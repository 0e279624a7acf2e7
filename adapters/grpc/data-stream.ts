/**
 * A stream of the data plane, served from HTTP/2 itself: grpc-js copies what it writes once and what it reads once more than
 * needed, and spends a promise and an event on each message. To the handlers it is what a duplex call of grpc-js is; a request
 * that asks for more than the plain case, a deadline or compression, is left to grpc-js.
 */
import { EventEmitter } from 'node:events'
import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import { Metadata, status } from '@grpc/grpc-js'
import { isRatatoskrError } from 'ratatoskr/ports'
import { FrameError, FrameReader, type MessageFrame, type Reading, readStream } from 'ratatoskr/proto'
import type { ConnectionUse } from './connection-bounds.ts'
import { type FailedStatus, statusOf } from './status.ts'

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

type Outcome = Omit<FailedStatus, 'metadata'> & { readonly metadata?: Metadata | undefined }

const trailersOf = ({ code, details, metadata }: Outcome): OutgoingHttpHeaders => ({
  'grpc-status': code,
  'grpc-message': encodeURI(details),
  ...metadata?.toHttp2Headers(),
})

/** Ends a stream that nobody serves; what its client still sends is dropped. */
export function refuse(stream: ServerHttp2Stream, failed: Outcome): void {
  stream.on('error', () => undefined) // 'close' follows and is what counts
  if (!stream.destroyed) stream.respond({ ...responseHeaders, ...trailersOf(failed) }, { endStream: true })
  stream.resume()
}

export class DataStream<Request> extends EventEmitter implements DuplexCall<Request> {
  readonly metadata: Metadata
  readonly #stream: ServerHttp2Stream
  readonly #reader: FrameReader
  readonly #reading: Reading
  readonly #use: ConnectionUse | undefined
  /** Bytes that the connection is told to keep for this stream. */
  #bytesKept = 0
  #halfClosed = false
  #ended = false

  /**
   * @param decode makes a request of a message; does not throw
   * @param bytesMax largest message to accept
   * @param use what the connection of the stream uses, unless it is gone
   */
  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    decode: (message: Uint8Array) => Request,
    bytesMax: number,
    use: ConnectionUse | undefined,
  ) {
    super()
    this.#stream = stream
    this.#use = use
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
    stream.once('close', () => {
      this.#reader.close()
      this.#keep()
      this.emit('cancelled')
    })
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
    // Writes end with their stream, and then nobody waits for what is still to be read.
    if (this.cancelled) return
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
      this.#keep()
    } catch (error) {
      if (isRatatoskrError(error, 'RTK_OVERLOADED')) {
        const stream = this.#stream
        // Behind answers that the client does not take, a status would not reach it.
        const isStuck = stream.writableLength > 0
        this.#finish(statusOf(error))
        if (isStuck) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
        return
      }
      if (!(error instanceof FrameError)) throw error
      const code = error.isTooLarge ? status.RESOURCE_EXHAUSTED : status.INTERNAL
      this.#finish({ code, details: error.message })
    }
  }

  /** @throws RTK_OVERLOADED when the streams of the connection together keep too much */
  #keep(): void {
    const more = this.#reader.bytesKept - this.#bytesKept
    if (more === 0) return
    this.#bytesKept += more
    this.#use?.keep(more)
  }

  #tellEnd(): void {
    if (this.#ended || this.#reader.isPaused) return
    if (this.#reader.isAtEnd) this.emit('end')
    else this.#finish({ code: status.INTERNAL, details: 'the stream ended within a message' })
  }

  #finish({ code, details, metadata }: Outcome): void {
    if (this.#ended) return
    this.#ended = true
    this.#reader.close()
    this.#keep()
    const stream = this.#stream
    if (this.cancelled) return
    const trailers = trailersOf({ code, details, metadata })
    if (stream.headersSent) {
      stream.once('wantTrailers', () => stream.sendTrailers(trailers))
      stream.end()
    } else stream.respond({ ...responseHeaders, ...trailers }, { endStream: true })
    this.#reading.resume() // what the client still sends is dropped
  }
}

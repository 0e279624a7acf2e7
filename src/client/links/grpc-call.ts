/** One call of gRPC: a stream of HTTP/2, whose messages are told as they come, and whose end is told once. */
import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import { constants } from 'node:http2'
import { FrameError, FrameReader, type MessageFrame, readStream, status } from '../../../proto/index.ts'
import { type CallStatus, statusOfHeaders, statusOfHttp } from './grpc-errors.ts'

export interface CallEvents {
  /** May keep the bytes: nothing changes them. */
  message(bytes: Uint8Array): void
  /** Once, after the last message. */
  ended(status: CallStatus): void
}

export class GrpcCall {
  readonly #stream: ClientHttp2Stream
  readonly #events: CallEvents
  readonly #reader: FrameReader
  #httpStatus = 0
  /** The status that came; messages may still come behind it. */
  #status: CallStatus | undefined
  #read = false
  #over = false

  /** @param bytesMax largest message to accept */
  constructor(stream: ClientHttp2Stream, bytesMax: number, events: CallEvents) {
    this.#stream = stream
    this.#events = events
    this.#reader = new FrameReader(bytesMax, (message) => events.message(message))
    stream.on('response', (headers) => {
      this.#httpStatus = Number(headers[':status'])
      this.#ending(headers)
    })
    stream.on('trailers', (headers) => this.#ending(headers))
    readStream(stream, this.#reader, (take) => this.#came(take))
    stream.on('end', () => {
      this.#read = true
      this.#finishWhenRead()
    })
    stream.on('error', () => undefined) // 'close' follows
    stream.on('close', () => this.#finish(this.#status ?? this.#lost()))
  }

  /** Writes a message. Its parts are kept until they are sent: they must not change. */
  write(frame: MessageFrame): void {
    if (this.#over || this.#stream.writableEnded) return
    const [head, body] = frame
    if (body === undefined) {
      this.#stream.write(head)
      return
    }
    this.#stream.cork()
    this.#stream.write(head)
    this.#stream.write(body)
    this.#stream.uncork()
  }

  /** Writes no more. */
  end(): void {
    if (!this.#stream.writableEnded) this.#stream.end()
  }

  /** Ends the call at once, as by the broker with that status; told later. */
  cancel(reason: CallStatus = { code: status.CANCELLED, details: 'cancelled on client' }): void {
    if (this.#over) return
    this.#status ??= reason
    this.#stream.close(constants.NGHTTP2_CANCEL)
    queueMicrotask(() => this.#finish(reason))
  }

  #came(take: () => void): void {
    if (this.#over) return
    // What a proxy or a web server says instead of gRPC is no message.
    if (this.#httpStatus !== constants.HTTP_STATUS_OK) return
    try {
      take()
    } catch (error) {
      if (!(error instanceof FrameError)) throw error
      const code = error.isTooLarge ? status.RESOURCE_EXHAUSTED : status.INTERNAL
      this.cancel({ code, details: error.message })
    }
  }

  #ending(headers: IncomingHttpHeaders): void {
    this.#status ??= statusOfHeaders(headers)
    this.#finishWhenRead()
  }

  #finishWhenRead(): void {
    if (this.#read && this.#status !== undefined) this.#finish(this.#status)
  }

  #finish(final: CallStatus): void {
    if (this.#over) return
    this.#over = true
    this.#reader.close()
    const stream = this.#stream
    // What the broker reads no more need not be sent.
    if (stream.writableLength > 0) stream.close(constants.NGHTTP2_CANCEL)
    else this.end()
    this.#events.ended(final)
  }

  /** Why it ended without a status. */
  #lost(): CallStatus {
    if (this.#httpStatus !== 0 && this.#httpStatus !== constants.HTTP_STATUS_OK)
      return statusOfHttp(this.#httpStatus)
    return { code: status.UNAVAILABLE, details: 'the connection was lost in the middle of the call' }
  }
}

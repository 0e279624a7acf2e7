/** A stream of node:http2 as the calls see it. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { type MessageFrame, type Reading, readStream } from 'ratatoskr/proto'
import { acceptedEncodings } from './call-headers.ts'
import type { CallStream, StreamSink } from './call-stream.ts'
import type { Connection } from './connections.ts'

const responseHeaders: OutgoingHttpHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-accept-encoding': acceptedEncodings,
}
const withTrailers = { waitForTrailers: true }
const alone = { endStream: true }

export class NodeStream implements CallStream {
  readonly headers: IncomingHttpHeaders
  readonly connection: Connection | undefined
  readonly #stream: ServerHttp2Stream
  #reading: Reading

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, connection: Connection | undefined) {
    this.#stream = stream
    this.#reading = stream
    this.headers = headers
    this.connection = connection
    stream.on('error', ignored) // 'close' follows and is what counts
  }

  get isOver(): boolean {
    return this.#stream.destroyed || this.#stream.closed
  }

  get bytesWaiting(): number {
    return this.#stream.writableLength
  }

  open(sink: StreamSink): void {
    const stream = this.#stream
    stream.on('end', () => sink.halfClosed())
    stream.on('close', () => sink.closed())
    const { reader } = sink
    if (reader === undefined) stream.on('data', (chunk: Uint8Array) => sink.data(chunk))
    else this.#reading = readStream(stream, reader, (take) => sink.taking(take))
  }

  pauseReading(): void {
    this.#reading.pause()
  }

  resumeReading(): void {
    this.#reading.resume()
  }

  begin(): void {
    if (!this.#stream.headersSent) this.#stream.respond(responseHeaders, withTrailers)
  }

  write([head, body]: MessageFrame, written?: () => void): boolean {
    this.begin()
    const stream = this.#stream
    if (body === undefined) return stream.write(head, written)
    stream.cork()
    stream.write(head)
    const hasRoom = stream.write(body, written)
    stream.uncork()
    return hasRoom
  }

  end(trailers: OutgoingHttpHeaders): void {
    const stream = this.#stream
    if (stream.headersSent) {
      stream.on('wantTrailers', () => stream.sendTrailers(trailers))
      stream.end()
    } else stream.respond({ ...responseHeaders, ...trailers }, alone)
    this.#reading.resume() // what the client still sends is dropped
  }

  reject(headers: OutgoingHttpHeaders): void {
    this.#stream.respond(headers, alone)
    this.#stream.resume()
  }

  reset(code: number): void {
    this.#stream.close(code)
  }
}

const ignored = (): void => undefined

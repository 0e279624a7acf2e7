/** What a call sees of the stream of HTTP/2 that it is served from. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import type { MessageFrame } from 'ratatoskr/proto'
import type { Connection } from './connections.ts'

/** What is told of a stream. */
export interface StreamSink {
  /** Something came. The bytes may change afterwards. */
  data(chunk: Uint8Array): void
  /** The client sends no more. */
  halfClosed(): void
  /** Once: the stream is over, whoever ended it. */
  closed(): void
}

export interface CallStream {
  readonly headers: IncomingHttpHeaders
  /** The connection, unless it is gone. */
  readonly connection: Connection | undefined
  /** True when nothing can be sent any more. */
  readonly isOver: boolean
  /** Bytes that were written and that the client has not taken. */
  readonly bytesWaiting: number
  /** Begins to tell of the stream. */
  open(sink: StreamSink): void
  pauseReading(): void
  resumeReading(): void
  /** Sends the headers of an answer, unless they are sent. */
  begin(): void
  write(message: MessageFrame, written?: () => void): boolean
  /** Ends the stream with these trailers, in the headers when nothing was sent. What still comes is dropped. */
  end(trailers: OutgoingHttpHeaders): void
  /** Answers in the terms of HTTP alone. */
  reject(headers: OutgoingHttpHeaders): void
  /** Cuts the stream. @param code of HTTP/2 */
  reset(code: number): void
}

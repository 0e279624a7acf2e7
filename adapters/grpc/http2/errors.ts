/** What is wrong with what comes over HTTP/2, by the codes of RFC 9113. */

export const http2Error = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  FLOW_CONTROL_ERROR: 3,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const

/** Ends the connection, or a stream alone. */
export class Http2Error extends Error {
  readonly code: number
  readonly isOfStream: boolean

  constructor(code: number, message: string, isOfStream: boolean) {
    super(message)
    this.code = code
    this.isOfStream = isOfStream
  }
}

export const connectionError = (code: number, message: string): Http2Error =>
  new Http2Error(code, message, false)
export const streamError = (code: number, message: string): Http2Error => new Http2Error(code, message, true)
export const protocolError = (message: string): Http2Error =>
  connectionError(http2Error.PROTOCOL_ERROR, message)

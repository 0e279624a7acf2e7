/** What a link needs of a connection that carries frames: a WebSocket of Node or of a browser, later other streams. */

export interface WireSocket {
  sendText(text: string): void
  /**
   * Sends one binary frame, of one part or of two. The socket may keep the bytes until they are sent: they must not change.
   */
  sendBinary(head: Uint8Array, body?: Uint8Array): void
  /** Closes behind what was sent. Idempotent. */
  close(): void
}

/** Calls come in the order of the wire. A broker speaks only when spoken to, so that none comes before the socket is known. */
export interface WireSocketEvents {
  text(text: string): void
  /** The bytes are the receiver's from here on. */
  binary(frame: Uint8Array): void
  /** Once, when the connection is over, whoever ended it; `how` goes into the message of an error. */
  closed(how: string): void
}

interface WireSocketOptions {
  readonly events: WireSocketEvents
  /** Largest frame to accept, in bytes. */
  readonly frameBytesMax: number
  /** Aborts connecting. */
  readonly signal: AbortSignal | undefined
}

/**
 * Connects, with the subprotocol `ratatoskr.v1+binary`.
 * @throws RTK_DISCONNECTED when nobody answers, the broker's error when it refuses, RTK_CANCELLED
 */
export type OpenWireSocket = (url: URL, options: WireSocketOptions) => Promise<WireSocket>

/**
 * What a protocol must bring to carry frames: a connection that can be paused, asked for a sign of life, closed and cut, and
 * a way to tell where one frame ends and the next begins. Everything else is the same for all carriers.
 */
import type { RatatoskrError } from 'ratatoskr/ports'

/** Why this side closes a connection. A carrier tells it in its own way; the error says more. */
export type CloseReason =
  /** The transport is stopping. */
  | 'goingAway'
  /** The peer broke the rules of the protocol. */
  | 'protocol'
  /** The peer sent a kind of frame that this connection does not carry. */
  | 'unsupportedData'
  /** The peer sent text that cannot be read. */
  | 'invalidText'
  /** The peer may not connect, or took too long. */
  | 'policy'

/** One connection, as its carrier sees it. */
export interface FrameCarrier {
  /** What the reply to `hello` names: `ratatoskr.v1+binary`, or `ratatoskr.v1+json` without binary frames. */
  readonly protocol: string
  /** True when batches travel as binary frames. */
  readonly binary: boolean
  /** False when either side has begun to close. */
  readonly open: boolean
  /** Reads nothing more from the peer. */
  pause(): void
  resume(): void
  /** Asks the peer for a sign of life; `FrameConnection.heard` is told of it. */
  ping(): void
  /** Closes behind what was written; `error` was told the peer already unless the transport is going away. Idempotent. */
  close(reason: CloseReason, error: RatatoskrError): void
  /** Cuts the connection. */
  terminate(): void
}

/** What takes the bytes of a connection: a stream of Node, or anything that behaves as one. */
export interface ByteSink {
  /** Bytes that were written and not taken yet. */
  readonly writableLength: number
  /** @param taken called when the bytes are taken and looked at no more, or with an error when they are lost with the connection */
  write(bytes: Uint8Array, taken?: (error?: Error | null) => void): unknown
  cork(): void
  uncork(): void
}

/** What stands before a frame on the wire. */
export interface Framing {
  /** Bytes before a frame of so many. */
  headerBytes(length: number): number
  /** Writes them at the beginning of `target`. */
  writeHeader(target: Uint8Array, text: boolean, length: number): void
}

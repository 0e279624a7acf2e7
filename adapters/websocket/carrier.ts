/**
 * A WebSocket as a carrier of frames. Frames are written to its socket behind headers of RFC 6455 section 5.2, from the broker
 * and therefore unmasked, so that a batch goes out without being copied; `ws` itself writes only control frames, whole and
 * synchronously.
 */
import {
  type CloseReason,
  type FrameCarrier,
  FrameConnection,
  type FrameConnectionOptions,
  type Framing,
} from 'ratatoskr/adapters/frames'
import {
  binarySubprotocol,
  type RatatoskrError,
  webSocketHeaderBytes,
  writeWebSocketHeader,
} from 'ratatoskr/ports'
import type { RawData, WebSocket } from 'ws'
import type { SplitStream } from './split-stream.ts'

type Accepted = Omit<FrameConnectionOptions, 'carrier' | 'sink' | 'framing'>

/** Serves a WebSocket whose handshake is done. @param stream what `ws` runs on @param head what came with the handshake */
export function acceptWebSocket(
  ws: WebSocket,
  stream: SplitStream,
  head: Uint8Array,
  accepted: Accepted,
): FrameConnection {
  const carrier = new WebSocketCarrier(ws)
  const sink = stream.socket
  const connection = new FrameConnection({ ...accepted, carrier, sink, framing: webSocketFraming })
  // One function for all connections each, which finds its own: most connections are idle, and a closure is 56 bytes.
  ;(ws as Served)[served] = connection
  ws.on('message', onMessage)
  ws.on('error', onError)
  ws.on('close', onClose)
  stream.begin(connection, head)
  return connection
}

const served = Symbol('connection')
type Served = WebSocket & { [served]?: FrameConnection }

function onMessage(this: WebSocket, data: RawData, binary: boolean): void {
  const connection = (this as Served)[served]
  if (binary) connection?.binary(data as Buffer)
  else connection?.text(data as Buffer)
}

/** `ws` closes with the fitting code by itself: 1007 for bad UTF-8, 1009 for a message that is too large. */
function onError(this: WebSocket, error: Error): void {
  ;(this as Served)[served]?.refused(error.message)
}

function onClose(this: WebSocket): void {
  ;(this as Served)[served]?.over()
}

class WebSocketCarrier implements FrameCarrier {
  readonly #ws: WebSocket

  constructor(ws: WebSocket) {
    this.#ws = ws
  }

  get protocol(): string {
    return this.#ws.protocol
  }

  get binary(): boolean {
    return this.#ws.protocol === binarySubprotocol
  }

  get open(): boolean {
    return this.#ws.readyState === this.#ws.OPEN
  }

  pause(): void {
    this.#ws.pause()
  }

  resume(): void {
    this.#ws.resume()
  }

  ping(): void {
    this.#ws.ping()
  }

  close(reason: CloseReason, error: RatatoskrError): void {
    this.#ws.close(closeCodes[reason], error.code) // puts its frame behind what was written
  }

  terminate(): void {
    this.#ws.terminate()
  }
}

/** Close codes of RFC 6455 section 7.4.1. */
const closeCodes: Readonly<Record<CloseReason, number>> = {
  goingAway: 1001,
  protocol: 1002,
  unsupportedData: 1003,
  invalidText: 1007,
  policy: 1008,
}

/** Headers of frames that are not masked. */
const webSocketFraming: Framing = {
  headerBytes: (length) => webSocketHeaderBytes(length, false),
  writeHeader: (target, text, length) => writeWebSocketHeader(target, text, length, false),
}

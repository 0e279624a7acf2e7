/**
 * A TCP connection, or one of a Unix socket, as a carrier of frames: the opening, then frames behind their lengths, as
 * `domain/wire/stream.ts` describes them.
 */
import { isUtf8 } from 'node:buffer'
import type { Socket } from 'node:net'
import {
  type ByteSink,
  type CloseReason,
  type FrameCarrier,
  FrameConnection,
  type FrameConnectionOptions,
  type Framing,
  readInto,
  takeBytes,
} from 'ratatoskr/adapters/frames'
import {
  binarySubprotocol,
  type Clock,
  encodeOpening,
  errorToJson,
  framePrefixBytes,
  RatatoskrError,
  type StreamEvents,
  type StreamOpening,
  StreamReader,
  streamProtocolVersion,
  textFrameByte,
  toRatatoskrError,
} from 'ratatoskr/ports'
import { answerToForeigner } from './foreigners.ts'

/** The first frame tells who is there; nobody needs more for that, and nobody is trusted yet. */
const firstFrameBytesMax = 64 * 1024
/** How long a peer may take to read what it is told last. */
const closeTimeoutMs = 2_000

export interface AcceptOptions extends Pick<FrameConnectionOptions, 'peer' | 'broker' | 'bounds'> {
  readonly accepted: Socket
  /** The largest frame from the peer, in bytes. */
  readonly frameBytesMax: number
  /** Told of the socket that stands for the accepted one from here on. */
  readonly keep: (socket: Socket) => void
}

/** Serves a connection from its first byte. */
export function acceptStream(options: AcceptOptions): FrameConnection {
  const { accepted, frameBytesMax, keep, ...served } = options
  const { clock, logger } = served.broker.platform
  const events: StreamEvents = {
    opening(opening) {
      carrier.begin()
      admit(opening)
      connection.peerFrameBytesMax = opening.frameBytesMax
    },
    frame(frame) {
      reader.frameBytesMax = frameBytesMax
      if (frame.length === 0) return // that it came is what it says
      if (frame[0] !== textFrameByte) connection.binary(frame)
      else if (isUtf8(frame)) connection.text(frame)
      else connection.refuse(malformed('text is UTF-8'), 'invalidText')
      if (!carrier.open) reader.close()
    },
  }
  const reader = new StreamReader(Math.min(firstFrameBytesMax, frameBytesMax), events, takeBytes)
  const socket = readInto(accepted, reader, (take) => {
    if (!carrier.open) return
    connection.heard() // a large frame over a slow line is no silence
    try {
      take()
    } catch (error) {
      const refused = toRatatoskrError(error)
      reader.close()
      logger.debug('stream refused', { peer: served.peer.address, reason: refused.message })
      const foreign = answerToForeigner(reader.beginning)
      if (foreign === undefined) connection.refuse(refused, 'protocol')
      else carrier.dismiss(foreign)
    }
  })
  keep(socket)
  const carrier = new StreamCarrier(socket, frameBytesMax, clock)
  const connection = new FrameConnection({
    ...served,
    carrier,
    sink: carrier,
    framing: streamFraming,
    credentials: { kind: 'none' },
  })
  socket.on('drain', () => connection.writable())
  socket.once('close', () => {
    reader.close()
    carrier.gone()
    connection.over()
  })
  return connection
}

/** Turns a peer away before it has said anything. */
export function turnAway(socket: Socket, error: RatatoskrError, clock: Clock): void {
  const carrier = new StreamCarrier(socket, 0, clock)
  socket.once('close', () => carrier.gone())
  carrier.close('goingAway', error)
}

function admit({ version }: StreamOpening): void {
  if (version === streamProtocolVersion) return
  const what = `this broker speaks version ${streamProtocolVersion} of the stream protocol, not ${version}`
  throw new RatatoskrError('RTK_NOT_SUPPORTED', what)
}

const malformed = (what: string): RatatoskrError => new RatatoskrError('RTK_FRAME_MALFORMED', what)

class StreamCarrier implements FrameCarrier, ByteSink {
  readonly protocol = binarySubprotocol
  readonly binary = true
  readonly #socket: Socket
  readonly #frameBytesMax: number
  readonly #clock: Clock
  /** True when our opening is written: nothing goes before it. */
  #begun = false
  #open = true
  #deadline: Disposable | undefined

  constructor(socket: Socket, frameBytesMax: number, clock: Clock) {
    this.#socket = socket
    this.#frameBytesMax = frameBytesMax
    this.#clock = clock
  }

  get open(): boolean {
    return this.#open
  }

  get writableLength(): number {
    return this.#socket.writableLength
  }

  begin(): void {
    this.#begun = true
    this.#socket.write(encodeOpening(this.#frameBytesMax))
  }

  write(bytes: Uint8Array, taken?: (error?: Error | null) => void): void {
    if (!this.#begun) this.begin()
    this.#socket.write(bytes, taken)
  }

  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  pause(): void {
    if (this.#open) this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  ping(): void {
    this.write(signOfLife)
  }

  close(reason: CloseReason, error: RatatoskrError): void {
    if (!this.#open) return
    if (reason === 'goingAway')
      this.write(textFrame(JSON.stringify({ event: 'error', error: errorToJson(error) })))
    this.dismiss(undefined)
  }

  /** Closes behind what was written, and a last word in whatever the peer speaks. */
  dismiss(lastWord: Uint8Array | undefined): void {
    if (!this.#open) return
    this.#open = false
    if (lastWord === undefined) this.#socket.end()
    else this.#socket.end(lastWord)
    // What the peer still sends is read and dropped: unread, it would make the kernel drop what the peer has not read.
    this.#socket.resume()
    this.#deadline = this.#clock.after(closeTimeoutMs, () => this.#socket.destroy())
  }

  terminate(): void {
    this.#open = false
    this.#socket.destroy()
  }

  gone(): void {
    this.#open = false
    this.#deadline?.[Symbol.dispose]()
  }
}

const signOfLife = new Uint8Array(framePrefixBytes)

const streamFraming: Framing = {
  headerBytes: () => framePrefixBytes,
  writeHeader(target, _text, length) {
    target[0] = length >>> 24
    target[1] = length >>> 16
    target[2] = length >>> 8
    target[3] = length
  },
}

function textFrame(text: string): Uint8Array {
  const frame = Buffer.allocUnsafe(framePrefixBytes + Buffer.byteLength(text))
  frame.writeUInt32BE(frame.length - framePrefixBytes)
  frame.write(text, framePrefixBytes)
  return frame
}

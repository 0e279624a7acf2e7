/** One stream of a connection: its windows, what waits to be sent, and who is told of it. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import type { MessageFrame } from 'ratatoskr/proto'
import type { CallStream, StreamSink } from '../call-stream.ts'
import type { Connection } from '../connections.ts'
import { headerFrames } from './answers.ts'
import type { Http2Connection } from './connection.ts'
import { http2Error } from './errors.ts'
import { frameType, headBytes, numbersFrame, writeHead } from './frames.ts'

/** A message that is to be sent, as far as it is not. */
interface Waiting {
  readonly parts: readonly Uint8Array[]
  part: number
  at: number
  left: number
  readonly bytes: number
  readonly written: (() => void) | undefined
}

export class Http2Stream implements CallStream {
  readonly id: number
  readonly headers: IncomingHttpHeaders
  readonly #carrier: Http2Connection
  #sink: StreamSink | undefined
  /** What may still be sent and received. */
  sendWindow: number
  #receiveWindow: number
  /** Bytes that came, and for which the window was not opened again. */
  #taken = 0
  /** Bytes of the body that the headers announce and that have not come; no number when they announce none. */
  #announced: number
  #isPaused = false
  #waiting: Waiting[] | undefined
  #trailers: OutgoingHttpHeaders | undefined
  #hasBegun = false
  #remoteEnded = false
  #localEnded = false
  #isSaid = false
  #isClosed = false
  /** Written and not with the system. */
  bytesWaiting = 0

  constructor(carrier: Http2Connection, id: number, headers: IncomingHttpHeaders) {
    this.#carrier = carrier
    this.id = id
    this.headers = headers
    this.sendWindow = carrier.settings.initialSendWindow
    this.#receiveWindow = carrier.receiveWindowBytes
    this.#announced = Number(headers['content-length'])
  }

  get connection(): Connection | undefined {
    return this.#carrier.owner
  }

  get isOver(): boolean {
    return this.#isClosed || this.#localEnded || this.#trailers !== undefined
  }

  get hasRemoteEnded(): boolean {
    return this.#remoteEnded
  }

  open(sink: StreamSink): void {
    this.#sink = sink
  }

  pauseReading(): void {
    this.#isPaused = true
  }

  resumeReading(): void {
    this.#isPaused = false
    this.#openWindow()
  }

  begin(): void {
    if (this.#hasBegun || this.isOver) return
    this.#hasBegun = true
    this.#sendHeaders(this.#carrier.options.answerHeaders, false)
  }

  write(message: MessageFrame, written?: () => void): boolean {
    if (this.isOver) return false
    this.begin()
    let bytes = 0
    for (const part of message) bytes += part.length
    this.bytesWaiting += bytes
    const waiting: Waiting = { parts: message, part: 0, at: 0, left: bytes, bytes, written }
    if (this.#waiting === undefined) this.#waiting = [waiting]
    else this.#waiting.push(waiting)
    this.pump()
    return this.bytesWaiting < 16_384
  }

  end(trailers: OutgoingHttpHeaders): void {
    if (this.isOver) return
    if (!this.#hasBegun) {
      this.#sendHeaders({ ...this.#carrier.options.answerHeaders, ...trailers }, true)
      return
    }
    this.#trailers = trailers
    this.pump()
  }

  reject(headers: OutgoingHttpHeaders): void {
    if (this.isOver) return
    this.#sendHeaders(headers, true)
  }

  reset(code: number): void {
    if (this.#isClosed) return
    this.#carrier.cut(this.id, code, !this.#remoteEnded)
    this.close()
  }

  /** Sends what the windows let through. */
  pump(): void {
    const waiting = this.#waiting
    while (waiting !== undefined && waiting.length > 0) {
      const [first] = waiting
      if (!this.#sendOf(first)) {
        // Its own window is told of by itself.
        if (this.sendWindow > 0) this.#carrier.block(this)
        return
      }
      waiting.shift()
    }
    this.#waiting = undefined
    if (this.#trailers === undefined || this.#localEnded) return
    this.#sendHeaders(this.#trailers, true)
  }

  /** Something came, of so many bytes in the windows: more than the data when that is padded. */
  came(data: Uint8Array, bytes: number): void {
    this.#receiveWindow -= bytes
    if (this.#receiveWindow < 0) {
      this.reset(http2Error.FLOW_CONTROL_ERROR)
      return
    }
    this.#taken += bytes
    this.#announced -= data.length
    if (data.length > 0 && !this.isOver) this.#sink?.data(data)
    this.#openWindow()
  }

  /** The client sends no more. */
  endRemotely(): void {
    if (this.#isClosed) return
    if (this.#announced !== 0 && !Number.isNaN(this.#announced)) {
      this.reset(http2Error.PROTOCOL_ERROR)
      return
    }
    this.#remoteEnded = true
    if (this.#isSaid) this.close()
    else if (!this.#localEnded) this.#sink?.halfClosed()
  }

  /** It is over, and who is served by it is told. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#waiting = undefined
    this.#carrier.forget(this)
    this.#tellClosed()
  }

  #sendHeaders(headers: OutgoingHttpHeaders, ends: boolean): void {
    const frames = headerFrames(this.id, headers, ends, this.#carrier.settings.frameBytesMax)
    if (ends) this.#localEnded = true
    this.#carrier.write(frames, ends ? () => this.#saidAll() : undefined)
  }

  /** @returns whether all of it could be sent */
  #sendOf(waiting: Waiting): boolean {
    const carrier = this.#carrier
    while (waiting.left > 0) {
      const bytes = Math.min(
        waiting.left,
        this.sendWindow,
        carrier.sendWindow,
        carrier.settings.frameBytesMax,
      )
      if (bytes <= 0) return false
      this.sendWindow -= bytes
      carrier.sendWindow -= bytes
      waiting.left -= bytes
      const sent = waiting.left === 0 ? () => this.#sent(waiting) : undefined
      const head = Buffer.allocUnsafe(headBytes)
      writeHead(head, 0, bytes, frameType.DATA, 0, this.id)
      carrier.write(head)
      this.#sendParts(waiting, bytes, sent)
    }
    return true
  }

  #sendParts(waiting: Waiting, bytes: number, sent: (() => void) | undefined): void {
    let left = bytes
    while (left > 0) {
      const part = waiting.parts[waiting.part]
      const end = Math.min(part.length, waiting.at + left)
      left -= end - waiting.at
      const whole = waiting.at === 0 && end === part.length
      this.#carrier.write(whole ? part : part.subarray(waiting.at, end), left === 0 ? sent : undefined)
      waiting.at = end
      if (end === part.length) {
        waiting.part++
        waiting.at = 0
      }
    }
  }

  #sent({ bytes, written }: Waiting): void {
    this.bytesWaiting -= bytes
    written?.()
  }

  /**
   * All that was said is with the system: until then the stream counts, for its client may read nothing. What that still sends is
   * dropped: cut off, some clients would lose the answer.
   */
  #saidAll(): void {
    if (this.#isClosed) return
    if (this.#remoteEnded) this.close()
    else {
      this.resumeReading()
      this.#tellClosed()
    }
    this.#isSaid = true
  }

  #tellClosed(): void {
    const sink = this.#sink
    this.#sink = undefined
    // Never within what its call does.
    if (sink !== undefined) process.nextTick(tellClosed, sink)
  }

  #openWindow(): void {
    if (this.#isPaused || this.#remoteEnded || this.#isClosed) return
    if (this.#taken < this.#carrier.receiveWindowBytes / 2) return
    this.#carrier.write(numbersFrame(frameType.WINDOW_UPDATE, this.id, this.#taken))
    this.#receiveWindow += this.#taken
    this.#taken = 0
  }
}

const tellClosed = (sink: StreamSink): void => sink.closed()

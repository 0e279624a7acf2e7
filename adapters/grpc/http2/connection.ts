/**
 * One connection of HTTP/2, from its socket to the streams of its calls (RFC 9113). Only what a server of gRPC needs of it: no
 * push, no priorities, no table for the headers of answers. What its client may make it keep or do is bounded at each place.
 */
import type { OutgoingHttpHeaders } from 'node:http2'
import type { Duplex } from 'node:stream'
import type { Connection } from '../connections.ts'
import { ClientSettings } from './client-settings.ts'
import { connectionError, Http2Error, http2Error, protocolError, streamError } from './errors.ts'
import { FrameParser, type FrameSink } from './frame-parser.ts'
import {
  flag,
  frameOf,
  frameType,
  numbersFrame,
  setting,
  settingsFrame,
  uint32,
  unpadded,
  windowDefault,
  windowMost,
} from './frames.ts'
import { areTrailers } from './header.ts'
import { HeaderDecoder, headerListBytesMax } from './header-decoder.ts'
import { HeaderPieces } from './header-pieces.ts'
import { Output } from './output.ts'
import { Patience } from './patience.ts'
import { Http2Stream } from './stream.ts'

export interface ConnectionOptions {
  readonly streamsMax: number
  /** Windows of each stream and of the connection. */
  readonly windowBytes: number
  /** The headers that every answer begins with. */
  readonly answerHeaders: OutgoingHttpHeaders
  readonly serve: (stream: Http2Stream) => void
}

/**
 * Calls that a client may give up, or break so that they are cut, and settings that it may change at once, and so many a second
 * after that.
 */
const [idleMax, idlePerSecond] = [1_000, 33]
/** Frames that carry nothing, alike: no client needs many. */
const [emptyMax, emptyPerSecond] = [10_000, 1_000]
/** More streams than end here and still have something on its way. */
const cutMax = 1_000
/** Answers to what asks for one by itself, such as pings, that a client has not taken: it may ask for no more then. */
const repliesWaitingMax = 1_000

export class Http2Connection implements FrameSink {
  readonly owner: Connection | undefined
  readonly receiveWindowBytes: number
  /** What the client has asked for. */
  readonly settings = new ClientSettings()
  sendWindow = windowDefault
  readonly #socket: Duplex
  readonly options: ConnectionOptions
  readonly #output: Output
  readonly #parser: FrameParser
  readonly #decoder = new HeaderDecoder()
  readonly #streams = new Map<number, Http2Stream>()
  /** Those that were ended here before their clients did, whose frames may still be on their way: the last of them. */
  readonly #cut = new Set<number>()
  /** Those that wait for the window of the connection. */
  readonly #blocked = new Set<Http2Stream>()
  #lastStreamId = 0
  #receiveWindow: number
  #taken = 0
  /** Headers that go on in the next frame. */
  #block: HeaderPieces | undefined
  #hasSettings = false
  #isClosing = false
  #isOver = false
  readonly #patience = new Patience(idleMax, idlePerSecond)
  readonly #emptyPatience = new Patience(emptyMax, emptyPerSecond)
  #repliesWaiting = 0
  /** Counts what comes: a sign of life each. */
  reads = 0

  constructor(socket: Duplex, owner: Connection | undefined, options: ConnectionOptions) {
    this.#socket = socket
    this.owner = owner
    this.options = options
    this.receiveWindowBytes = options.windowBytes
    this.#receiveWindow = options.windowBytes
    this.#output = new Output(socket)
    this.#parser = new FrameParser(this)
    this.write(
      settingsFrame([
        [setting.MAX_CONCURRENT_STREAMS, options.streamsMax],
        [setting.INITIAL_WINDOW_SIZE, options.windowBytes],
        [setting.MAX_HEADER_LIST_SIZE, headerListBytesMax],
      ]),
    )
    this.write(numbersFrame(frameType.WINDOW_UPDATE, 0, options.windowBytes - windowDefault))
  }

  /** Takes what came over the socket. The bytes may change afterwards. */
  came(chunk: Uint8Array): void {
    if (this.#isOver) return
    this.reads++
    // What one read asks for goes out behind it: so it is asked before the next how much of that was not taken.
    if (this.#repliesWaiting > repliesWaitingMax) {
      this.fail(http2Error.ENHANCE_YOUR_CALM)
      return
    }
    this.#output.hold(() => {
      try {
        this.#parser.push(chunk)
      } catch (error) {
        if (!(error instanceof Http2Error)) throw error
        this.fail(error.code)
      }
    })
  }

  /** Takes no more calls, and ends when those that are under way are over. */
  close(): void {
    if (this.#isClosing || this.#isOver) return
    this.#isClosing = true
    this.write(numbersFrame(frameType.GOAWAY, 0, this.#lastStreamId, http2Error.NO_ERROR))
    this.#endWhenIdle()
  }

  /** The socket is gone. */
  lost(): void {
    this.#isOver = true
    for (const stream of [...this.#streams.values()]) stream.close()
  }

  /** Asks for a sign of life. */
  ping(): void {
    this.write(frameOf(frameType.PING, 0, 0, new Uint8Array(8)))
  }

  write(piece: Uint8Array, sent?: () => void): void {
    if (!this.#isOver) this.#output.write(piece, sent)
  }

  /** Answers what asks for an answer by itself. */
  reply(frame: Uint8Array): void {
    this.#repliesWaiting++
    this.write(frame, () => this.#repliesWaiting--)
  }

  block(stream: Http2Stream): void {
    this.#blocked.add(stream)
  }

  forget(stream: Http2Stream): void {
    this.#streams.delete(stream.id)
    this.#blocked.delete(stream)
    this.#endWhenIdle()
  }

  /** The client has made work that led to nothing. */
  wasted(): void {
    if (!this.#patience.use()) this.fail(http2Error.ENHANCE_YOUR_CALM)
  }

  /**
   * A stream is ended here, for its client may make the broker do so: that is bounded as giving up calls is.
   * @param mayCome whether something may still be on its way
   */
  cut(streamId: number, code: number, mayCome: boolean): void {
    this.reply(numbersFrame(frameType.RST_STREAM, streamId, code))
    this.wasted()
    if (!mayCome) return
    this.#cut.add(streamId)
    if (this.#cut.size <= cutMax) return
    const [oldest] = this.#cut
    this.#cut.delete(oldest)
  }

  frame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    if (this.#isOver) return
    if (!this.#hasSettings && (type !== frameType.SETTINGS || (flags & flag.ACK) !== 0))
      throw protocolError('the first frame must be SETTINGS')
    if (this.#block !== undefined && type !== frameType.CONTINUATION)
      throw protocolError('headers do not go on')
    if (type === frameType.DATA) this.#paddedData(flags, streamId, payload)
    else if (type === frameType.HEADERS) this.#headers(flags, streamId, payload)
    else if (type === frameType.CONTINUATION) this.#continuation(flags, streamId, payload)
    else if (type === frameType.RST_STREAM) this.#reset(streamId, payload)
    else if (type === frameType.SETTINGS) this.#settings(flags, streamId, payload)
    else if (type === frameType.PING) this.#ping(flags, streamId, payload)
    else if (type === frameType.WINDOW_UPDATE) this.#windowUpdate(streamId, payload)
    else if (type === frameType.PUSH_PROMISE) throw protocolError('a client does not push')
    else this.#other(type, streamId, payload)
  }

  data(streamId: number, part: Uint8Array, isLast: boolean): void {
    if (this.#isOver) return
    if (!this.#hasSettings) throw protocolError('the first frame must be SETTINGS')
    if (this.#block !== undefined) throw protocolError('headers do not go on')
    this.#data(streamId, part, part.length, isLast)
  }

  /** Ends the connection, which broke the protocol. */
  fail(code: number): void {
    if (this.#isOver) return
    this.write(numbersFrame(frameType.GOAWAY, 0, this.#lastStreamId, code))
    this.#end()
    this.lost()
  }

  /** Frames that ask for nothing, as does what later versions may bring. */
  #other(type: number, streamId: number, payload: Uint8Array): void {
    if (type === frameType.GOAWAY) {
      if (streamId !== 0) throw protocolError('GOAWAY is of the connection')
      if (payload.length < 8)
        throw connectionError(http2Error.FRAME_SIZE_ERROR, 'GOAWAY has 8 bytes and more')
    } else if (type === frameType.PRIORITY) {
      if (streamId === 0) throw protocolError('PRIORITY is of a stream')
      if (payload.length !== 5) throw connectionError(http2Error.FRAME_SIZE_ERROR, 'PRIORITY has 5 bytes')
    }
    this.#empty()
  }

  /** A frame carried nothing. */
  #empty(): void {
    if (!this.#emptyPatience.use()) this.fail(http2Error.ENHANCE_YOUR_CALM)
  }

  #paddedData(flags: number, streamId: number, payload: Uint8Array): void {
    const data = unpadded(payload, 0)
    this.#data(streamId, data, payload.length, (flags & flag.END_STREAM) !== 0)
  }

  /** @param bytes of the windows that it took */
  #data(streamId: number, part: Uint8Array, bytes: number, isLast: boolean): void {
    if (this.#isIdle(streamId)) throw protocolError('data of a stream that was never opened')
    this.#receiveWindow -= bytes
    if (this.#receiveWindow < 0)
      throw connectionError(http2Error.FLOW_CONTROL_ERROR, 'more came than the window lets through')
    if (part.length === 0 && !isLast) this.#empty()
    this.#taken += bytes
    // What a stream keeps is counted by its call: the window of the connection holds nobody up.
    if (this.#taken >= this.receiveWindowBytes / 2) {
      this.write(numbersFrame(frameType.WINDOW_UPDATE, 0, this.#taken))
      this.#receiveWindow += this.#taken
      this.#taken = 0
    }
    const stream = this.#streams.get(streamId)
    if (stream === undefined) {
      this.#late(streamId)
      if (bytes === 0) this.wasted()
      return
    }
    if (stream.hasRemoteEnded) {
      stream.reset(http2Error.STREAM_CLOSED)
      return
    }
    stream.came(part, bytes)
    if (isLast) stream.endRemotely()
  }

  #headers(flags: number, streamId: number, payload: Uint8Array): void {
    if ((streamId & 1) === 0) throw protocolError('the streams of a client have odd numbers')
    let block = (flags & flag.PADDED) === 0 ? payload : unpadded(payload, 0)
    if ((flags & flag.PRIORITY) !== 0) {
      if (block.length < 5)
        throw connectionError(http2Error.FRAME_SIZE_ERROR, 'headers without their priority')
      block = block.subarray(5)
    }
    if ((flags & flag.END_HEADERS) !== 0) this.#wholeHeaders(flags, streamId, block)
    else this.#block = new HeaderPieces(streamId, flags, block)
  }

  #continuation(flags: number, streamId: number, payload: Uint8Array): void {
    const block = this.#block
    if (block === undefined || block.streamId !== streamId)
      throw protocolError('these headers have not begun')
    block.add(payload)
    if ((flags & flag.END_HEADERS) === 0) return
    this.#block = undefined
    this.#wholeHeaders(block.flags, streamId, block.bytes)
  }

  #wholeHeaders(flags: number, streamId: number, block: Uint8Array): void {
    const ends = (flags & flag.END_STREAM) !== 0
    if (streamId <= this.#lastStreamId) {
      this.#trailers(streamId, block, ends)
      return
    }
    this.#lastStreamId = streamId
    try {
      const headers = this.#decoder.decode(block)
      if (this.#isClosing || this.#streams.size >= this.options.streamsMax)
        throw streamError(http2Error.REFUSED_STREAM, 'there are as many streams as there may be')
      const stream = new Http2Stream(this, streamId, headers)
      this.#streams.set(streamId, stream)
      this.options.serve(stream)
      if (ends) stream.endRemotely()
    } catch (error) {
      if (!(error instanceof Http2Error && error.isOfStream)) throw error
      this.cut(streamId, error.code, !ends)
    }
  }

  /** Whether there was no such stream. */
  #isIdle(streamId: number): boolean {
    return (streamId & 1) === 0 || streamId > this.#lastStreamId
  }

  #trailers(streamId: number, block: Uint8Array, ends: boolean): void {
    const list = this.#decoder.read(block)
    const stream = this.#streams.get(streamId)
    if (stream === undefined) {
      this.#late(streamId)
      this.wasted()
    } else if (stream.hasRemoteEnded) stream.reset(http2Error.STREAM_CLOSED)
    else if (!ends || !areTrailers(list)) stream.reset(http2Error.PROTOCOL_ERROR)
    else stream.endRemotely()
  }

  /** Something came for a stream that is over. @throws Http2Error when its client had ended it */
  #late(streamId: number): void {
    if (!this.#cut.has(streamId))
      throw connectionError(http2Error.STREAM_CLOSED, 'something comes behind the end of a stream')
  }

  #reset(streamId: number, payload: Uint8Array): void {
    if (payload.length !== 4) throw connectionError(http2Error.FRAME_SIZE_ERROR, 'RST_STREAM has 4 bytes')
    if (this.#isIdle(streamId)) throw protocolError('a stream is reset that was never opened')
    const stream = this.#streams.get(streamId)
    if (stream === undefined) return // it has its answer: nothing was in vain
    this.wasted()
    stream.close()
  }

  #settings(flags: number, streamId: number, payload: Uint8Array): void {
    this.#hasSettings = true
    if (streamId !== 0) throw protocolError('SETTINGS are of the connection')
    const isAck = (flags & flag.ACK) !== 0
    if (payload.length % 6 !== 0 || (isAck && payload.length > 0))
      throw connectionError(http2Error.FRAME_SIZE_ERROR, 'SETTINGS have 6 bytes each')
    if (isAck) {
      this.#empty()
      return
    }
    this.wasted()
    const before = this.settings.initialSendWindow
    this.settings.take(payload)
    const more = this.settings.initialSendWindow - before
    this.reply(frameOf(frameType.SETTINGS, flag.ACK, 0, new Uint8Array(0)))
    if (more !== 0) this.#widen(more)
  }

  /** The windows of all streams are by so much wider, or narrower. */
  #widen(more: number): void {
    for (const stream of this.#streams.values()) {
      stream.sendWindow += more
      if (stream.sendWindow > windowMost)
        throw connectionError(http2Error.FLOW_CONTROL_ERROR, 'such a window there is not')
      if (more > 0) stream.pump()
    }
  }

  #ping(flags: number, streamId: number, payload: Uint8Array): void {
    if (streamId !== 0) throw protocolError('PING is of the connection')
    if (payload.length !== 8) throw connectionError(http2Error.FRAME_SIZE_ERROR, 'PING has 8 bytes')
    if ((flags & flag.ACK) === 0) this.reply(frameOf(frameType.PING, flag.ACK, 0, payload))
  }

  #windowUpdate(streamId: number, payload: Uint8Array): void {
    if (payload.length !== 4) throw connectionError(http2Error.FRAME_SIZE_ERROR, 'WINDOW_UPDATE has 4 bytes')
    const more = uint32(payload, 0) & 0x7fff_ffff
    if (streamId === 0) {
      this.sendWindow += more
      if (more === 0) throw protocolError('a window is opened by nothing')
      if (this.sendWindow > windowMost)
        throw connectionError(http2Error.FLOW_CONTROL_ERROR, 'such a window there is not')
      this.#pumpBlocked()
      return
    }
    if (this.#isIdle(streamId)) throw protocolError('a window of a stream that was never opened')
    const stream = this.#streams.get(streamId)
    if (stream === undefined) return
    stream.sendWindow += more
    if (more === 0) stream.reset(http2Error.PROTOCOL_ERROR)
    else if (stream.sendWindow > windowMost) stream.reset(http2Error.FLOW_CONTROL_ERROR)
    else stream.pump()
  }

  #pumpBlocked(): void {
    for (const stream of this.#blocked) {
      if (this.sendWindow <= 0) return
      this.#blocked.delete(stream)
      stream.pump()
    }
  }

  #endWhenIdle(): void {
    if (this.#isClosing && this.#streams.size === 0) this.#end()
  }

  #end(): void {
    const socket = this.#socket
    this.#output.flush()
    if (socket.destroyed) return
    socket.end(() => socket.destroy())
  }
}

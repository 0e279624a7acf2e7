/**
 * One WebSocket connection, from the handshake to its end.
 *
 * It is `opening` until the first frame tells (or does not tell) who is there and the session is made, then `open`,
 * `draining` while the transport stops and requests in flight finish, `closed`. What arrives while the session is made
 * waits; the socket is paused meanwhile, so that it is at most what one read brought.
 */
import type { Duplex } from 'node:stream'
import type { BrokerFacade, Credentials, CreditFrame, Peer, Session } from 'ratatoskr/ports'
import {
  binarySubprotocol,
  decodeFrame,
  errorToJson,
  isRatatoskrError,
  RatatoskrError,
} from 'ratatoskr/ports'
import type { WebSocket } from 'ws'
import { type CallBounds, Calls, loggedError } from './calls.ts'
import { helloCredentials, helloReply } from './hello.ts'
import { type CloseCode, closeCodes, FrameRefused, type Request, readRequest } from './request.ts'
import { SocketWriter } from './socket-writer.ts'
import type { WireCredit } from './wire-sink.ts'

export interface ConnectionBounds extends CallBounds {
  /** Bytes that the peer has not taken above which nothing more is read from it. */
  readonly outboundBytesMax: number
  /** From the handshake until the session stands. */
  readonly handshakeTimeoutMs: number
}

export interface ConnectionOptions {
  readonly ws: WebSocket
  /** The socket under `ws`. */
  readonly socket: Duplex
  readonly peer: Peer
  /** What the headers of the handshake proved. */
  readonly credentials: Credentials
  readonly broker: BrokerFacade
  readonly bounds: ConnectionBounds
}

interface Received {
  readonly data: Buffer
  readonly binary: boolean
}

export class Connection {
  /** Resolves when the connection is over and its session closed. */
  readonly closed: Promise<void>
  readonly #options: ConnectionOptions
  readonly #binary: boolean
  readonly #writer: SocketWriter
  readonly #deadline: Disposable
  readonly #backlog: Received[] = []
  #state: 'opening' | 'open' | 'draining' | 'closed' = 'opening'
  #connecting = false
  #session: Session | undefined
  #calls: Calls | undefined
  /** True when the peer was heard since the last ping. */
  #heard = true

  constructor(options: ConnectionOptions) {
    const { ws, socket, broker, bounds } = options
    this.#options = options
    this.#binary = ws.protocol === binarySubprotocol
    // A peer that asks and does not read the answers is read no more: its own socket then fills, and it must wait.
    this.#writer = new SocketWriter(socket, {
      pendingBytesMax: bounds.outboundBytesMax,
      full: () => ws.pause(),
    })
    socket.on('drain', () => ws.resume())
    this.#deadline = broker.platform.clock.after(bounds.handshakeTimeoutMs, () => this.#tooLate())
    this.closed = new Promise((resolve) => {
      ws.once('close', () => resolve(this.#end()))
    })
    ws.on('message', (data: Buffer, binary: boolean) => this.#receive({ data, binary }))
    ws.on('pong', () => {
      this.#heard = true
    })
    ws.on('error', (error) => {
      // `ws` closes with the fitting code by itself: 1007 for bad UTF-8, 1009 for a message that is too large.
      broker.platform.logger.debug('websocket frame refused', {
        peer: options.peer.address,
        reason: error.message,
      })
    })
  }

  /** Asks the peer for a sign of life, and cuts the connection when it gave none since the last time. */
  ping(): void {
    const { ws } = this.#options
    if (!this.#heard) ws.terminate()
    else if (ws.readyState === ws.OPEN) {
      this.#heard = false
      ws.ping()
    }
  }

  /** Ends the subscriptions, lets requests in flight finish, then closes. */
  async drain(): Promise<void> {
    const reason = new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping; connect again')
    if (this.#state === 'open') {
      this.#state = 'draining'
      await Promise.race([this.#finish(reason), this.closed])
    }
    this.#close(closeCodes.goingAway, reason.code)
    await this.closed
  }

  async #finish(reason: RatatoskrError): Promise<void> {
    await this.#calls?.drain(reason)
    await this.#writer.idle()
  }

  /** Cuts the connection. */
  terminate(): void {
    this.#options.ws.terminate()
  }

  #receive(received: Received): void {
    const { ws } = this.#options
    const calls = this.#calls
    this.#heard = true
    if (ws.readyState !== ws.OPEN) return
    if (calls === undefined) {
      this.#backlog.push(received)
      if (!this.#connecting) void this.#open()
      return
    }
    try {
      this.#dispatch(calls, received)
    } catch (error) {
      this.#refuse(error, undefined)
    }
  }

  #dispatch(calls: Calls, { data, binary }: Received): void {
    if (!binary) {
      calls.request(this.#request(data))
      return
    }
    const frame = this.#frame(data)
    if (frame.kind === 'produce') calls.produce(frame)
    else if (frame.kind === 'credit') calls.subscriptions.grant(frame.id, creditOf(frame))
    else throw new FrameRefused(closeCodes.protocol, `clients do not send frames of kind ${frame.kind}`)
  }

  #request(data: Buffer): Request {
    return readRequest(data.toString(), this.#options.broker.limits.jsonDepthMax)
  }

  #frame(data: Buffer): ReturnType<typeof decodeFrame> {
    if (!this.#binary) {
      throw new FrameRefused(
        closeCodes.unsupportedData,
        `binary frames need the subprotocol ${binarySubprotocol}`,
      )
    }
    try {
      return decodeFrame(data)
    } catch (error) {
      if (isRatatoskrError(error)) throw new FrameRefused(closeCodes.protocol, error.message)
      throw error
    }
  }

  /** Makes the session, with the credentials of a first frame `hello` or else those of the handshake. */
  async #open(): Promise<void> {
    this.#connecting = true
    const { ws } = this.#options
    ws.pause()
    let hello: Request | undefined
    try {
      hello = this.#takeHello()
      await this.#connect(hello)
    } catch (error) {
      this.#refuse(error, hello?.id)
    } finally {
      ws.resume()
    }
    for (const received of this.#backlog.splice(0)) this.#receive(received)
  }

  #takeHello(): Request | undefined {
    const [first] = this.#backlog
    if (first.binary) return undefined
    const request = this.#request(first.data)
    if (request.op !== 'hello') return undefined
    this.#backlog.shift()
    return request
  }

  async #connect(hello: Request | undefined): Promise<void> {
    const { ws, broker, peer, bounds, credentials } = this.#options
    const { limits, platform } = broker
    const told = hello === undefined ? undefined : helloCredentials(hello.fields)
    const session = await broker.connect(peer, told ?? credentials)
    if (this.#state !== 'opening') return session.close() // it went away, or took too long, meanwhile
    this.#deadline[Symbol.dispose]()
    this.#session = session
    this.#state = 'open'
    if (hello?.id !== undefined)
      this.#send({ id: hello.id, ok: helloReply(session, ws.protocol, limits, platform.clock) })
    this.#calls = new Calls({ session, writer: this.#writer, binary: this.#binary, limits, platform, bounds })
  }

  #tooLate(): void {
    const { handshakeTimeoutMs } = this.#options.bounds
    this.#refuse(
      new RatatoskrError('RTK_TIMEOUT', `say hello, or send a request, within ${handshakeTimeoutMs} ms`),
      undefined,
    )
  }

  /** Tells the peer why, and closes. */
  #refuse(error: unknown, id: number | undefined): void {
    const refused = error instanceof FrameRefused
    const known = refused ? error.error : loggedError(error, this.#options.broker.platform)
    const json = errorToJson(known)
    this.#send(id === undefined ? { event: 'error', error: json } : { id, error: json })
    this.#close(refused ? error.closeCode : closeCodes.policy, known.code)
  }

  #send(frame: object): void {
    this.#writer.text(JSON.stringify(frame))
  }

  #close(code: CloseCode, reason: string): void {
    if (this.#state === 'closed') return
    if (this.#state === 'opening') this.#state = 'closed'
    this.#backlog.length = 0
    const { ws } = this.#options
    ws.close(code, reason) // puts its frame behind what was written
    this.#writer.close()
  }

  async #end(): Promise<void> {
    this.#state = 'closed'
    this.#deadline[Symbol.dispose]()
    this.#writer.close()
    this.#calls?.cancelAll()
    try {
      await this.#session?.close()
    } catch (error) {
      loggedError(error, this.#options.broker.platform)
    }
  }
}

/** A kind of credit that a frame has none of is not granted: of what is never granted there is no end in a queue group. */
const creditOf = ({ bytes, messages }: CreditFrame): WireCredit => ({
  bytes: bytes === 0 ? undefined : bytes,
  messages: messages === 0 ? undefined : messages,
})

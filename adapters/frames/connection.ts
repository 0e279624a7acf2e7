/**
 * One connection that carries frames, from its beginning to its end.
 *
 * It is `opening` until the first frame tells (or does not tell) who is there and the session is made, then `open`,
 * `draining` while the transport stops and requests in flight finish, `closed`. What arrives while the session is made
 * waits; the carrier is paused meanwhile, so that it is at most what one read brought.
 */
import type { BrokerFacade, Credentials, CreditFrame, Peer, Session } from 'ratatoskr/ports'
import {
  binarySubprotocol,
  decodeFrame,
  errorToJson,
  isRatatoskrError,
  RatatoskrError,
  utf8Text,
} from 'ratatoskr/ports'
import { type CallBounds, Calls, loggedError } from './calls.ts'
import type { ByteSink, CloseReason, FrameCarrier, Framing } from './carrier.ts'
import { FrameWriter } from './frame-writer.ts'
import { helloCredentials, helloReply } from './hello.ts'
import { FrameRefused, type Request, readRequest } from './request.ts'
import type { WireCredit } from './wire-sink.ts'

/** The bounds of one connection. */
export interface FrameBounds extends CallBounds {
  /** Bytes that the peer has not taken above which nothing more is read from it. */
  readonly outboundBytesMax: number
  /** From the connection's beginning until the session stands. */
  readonly handshakeTimeoutMs: number
}

/** What a connection is made of. */
export interface FrameConnectionOptions {
  readonly carrier: FrameCarrier
  /** Where frames are written to, each behind the header that `framing` makes. */
  readonly sink: ByteSink
  readonly framing: Framing
  readonly peer: Peer
  /** What the carrier's own handshake proved; a `hello` may say otherwise. */
  readonly credentials: Credentials
  readonly broker: BrokerFacade
  readonly bounds: FrameBounds
}

interface Received {
  readonly frame: Uint8Array
  readonly text: boolean
}

/** The carrier calls `text` and `binary` with what arrives, `heard`, `writable`, and at last `over`. */
export class FrameConnection {
  readonly #options: FrameConnectionOptions
  readonly #carrier: FrameCarrier
  readonly #writer: FrameWriter
  /** Until the session stands. */
  #deadline: Disposable | undefined
  readonly #backlog: Received[] = []
  /** The closing of the session, once the connection is over. */
  #ending: Promise<void> | undefined
  /** Made when somebody waits for the end: there are many connections, and nobody waits for most of them. */
  #closed: PromiseWithResolvers<void> | undefined
  #whenClosed: ((connection: FrameConnection) => void) | undefined
  #state: 'opening' | 'open' | 'draining' | 'closed' = 'opening'
  #begun = false
  /** True while the session is made. */
  #connecting = false
  #session: Session | undefined
  #calls: Calls | undefined
  /** True when the peer was heard since it was last asked for a sign of life. */
  #heard = true

  constructor(options: FrameConnectionOptions) {
    const { carrier, sink, framing, broker, bounds } = options
    this.#options = options
    this.#carrier = carrier
    // A peer that asks and does not read the answers is read no more: its own socket then fills, and it must wait.
    this.#writer = new FrameWriter(sink, framing, bounds.outboundBytesMax, carrier)
    this.#deadline = broker.platform.clock.after(bounds.handshakeTimeoutMs, () => this.#tooLate())
  }

  /** Resolves when the connection is over and its session closed. */
  get closed(): Promise<void> {
    if (this.#ending !== undefined) return this.#ending
    this.#closed ??= Promise.withResolvers()
    return this.#closed.promise
  }

  /** Has `tell` called when the connection is over and its session closed. */
  onClosed(tell: (connection: FrameConnection) => void): void {
    if (this.#ending === undefined) this.#whenClosed = tell
    else void this.#ending.then(() => tell(this))
  }

  /** The largest frame that the peer said it takes, in bytes. */
  set peerFrameBytesMax(bytes: number) {
    this.#writer.frameBytesMax = bytes
  }

  /** A text frame has arrived. Its bytes are the connection's from here on. */
  text(frame: Uint8Array): void {
    this.#receive({ frame, text: true })
  }

  /** A binary frame has arrived. Its bytes are the connection's from here on. */
  binary(frame: Uint8Array): void {
    this.#receive({ frame, text: false })
  }

  /** The peer gave a sign of life that is no frame. */
  heard(): void {
    this.#heard = true
  }

  /** The sink has taken what was written. */
  writable(): void {
    if (!this.#connecting) this.#carrier.resume()
  }

  /** The connection is over, whoever ended it. Idempotent. */
  over(): void {
    if (this.#ending !== undefined) return
    this.#ending = this.#end()
    this.#closed?.resolve(this.#ending)
  }

  /** Ends a connection whose peer does not keep to the carrier's rules, and tells it why. */
  refuse(error: RatatoskrError, reason: CloseReason): void {
    this.#send({ event: 'error', error: errorToJson(error) })
    this.#close(reason, error)
  }

  /** The carrier refused what came and closes by itself. */
  refused(reason: string): void {
    const { broker, peer } = this.#options
    broker.platform.logger.debug('frame refused by its carrier', { peer: peer.address, reason })
  }

  /** Asks the peer for a sign of life, and cuts the connection when it gave none since the last time. */
  ping(): void {
    if (!this.#heard) this.#carrier.terminate()
    else if (this.#carrier.open) {
      this.#heard = false
      this.#carrier.ping()
    }
  }

  /** Ends the subscriptions, lets requests in flight finish, then closes. */
  async drain(): Promise<void> {
    const reason = new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping; connect again')
    if (this.#state === 'open') {
      this.#state = 'draining'
      await Promise.race([this.#finish(reason), this.closed])
    }
    this.#close('goingAway', reason)
    await this.closed
  }

  /** Cuts the connection. */
  terminate(): void {
    this.#carrier.terminate()
  }

  async #finish(reason: RatatoskrError): Promise<void> {
    await this.#calls?.drain(reason)
    await this.#writer.idle()
  }

  #receive(received: Received): void {
    const calls = this.#calls
    this.#heard = true
    if (!this.#carrier.open) return
    if (calls === undefined) {
      this.#backlog.push(received)
      if (!this.#begun) void this.#open()
      return
    }
    try {
      this.#dispatch(calls, received)
    } catch (error) {
      this.#refuse(error, undefined)
    }
  }

  #dispatch(calls: Calls, { frame: bytes, text }: Received): void {
    if (text) {
      calls.request(this.#request(bytes))
      return
    }
    const frame = this.#frame(bytes)
    if (frame.kind === 'produce') calls.produce(frame)
    else if (frame.kind === 'credit') calls.subscriptions.grant(frame.id, creditOf(frame))
    else throw new FrameRefused('protocol', `clients do not send frames of kind ${frame.kind}`)
  }

  #request(bytes: Uint8Array): Request {
    return readRequest(utf8Text(bytes), this.#options.broker.limits.jsonDepthMax)
  }

  #frame(bytes: Uint8Array): ReturnType<typeof decodeFrame> {
    if (!this.#carrier.binary) {
      throw new FrameRefused('unsupportedData', `binary frames need the subprotocol ${binarySubprotocol}`)
    }
    try {
      return decodeFrame(bytes)
    } catch (error) {
      if (isRatatoskrError(error)) throw new FrameRefused('protocol', error.message)
      throw error
    }
  }

  /** Makes the session, with the credentials of a first frame `hello` or else those of the carrier's handshake. */
  async #open(): Promise<void> {
    this.#begun = true
    this.#connecting = true
    this.#carrier.pause()
    let hello: Request | undefined
    try {
      hello = this.#takeHello()
      await this.#connect(hello)
    } catch (error) {
      this.#refuse(error, hello?.id)
    } finally {
      this.#connecting = false
      this.#carrier.resume()
    }
    for (const received of this.#backlog.splice(0)) this.#receive(received)
  }

  #takeHello(): Request | undefined {
    const [first] = this.#backlog
    if (!first.text) return undefined
    const request = this.#request(first.frame)
    if (request.op !== 'hello') return undefined
    this.#backlog.shift()
    return request
  }

  async #connect(hello: Request | undefined): Promise<void> {
    const { broker, peer, bounds, credentials } = this.#options
    const { limits, platform } = broker
    const { protocol, binary } = this.#carrier
    const told = hello === undefined ? undefined : helloCredentials(hello.fields)
    const session = await broker.connect(peer, told ?? credentials)
    if (this.#state !== 'opening') return session.close() // it went away, or took too long, meanwhile
    this.#disarm()
    this.#session = session
    this.#state = 'open'
    if (hello?.id !== undefined) {
      this.#send({ id: hello.id, ok: helloReply(session, protocol, peer, broker) })
    }
    this.#calls = new Calls({ session, writer: this.#writer, binary, limits, platform, bounds })
  }

  #disarm(): void {
    this.#deadline?.[Symbol.dispose]()
    this.#deadline = undefined
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
    this.#close(refused ? error.closeReason : 'policy', known)
  }

  #send(frame: object): void {
    this.#writer.text(JSON.stringify(frame))
  }

  #close(reason: CloseReason, error: RatatoskrError): void {
    if (this.#state === 'closed') return
    if (this.#state === 'opening') this.#state = 'closed'
    this.#backlog.length = 0
    this.#carrier.close(reason, error)
    this.#writer.close()
  }

  async #end(): Promise<void> {
    this.#state = 'closed'
    this.#disarm()
    this.#writer.close()
    this.#calls?.cancelAll()
    try {
      await this.#session?.close()
    } catch (error) {
      loggedError(error, this.#options.broker.platform)
    }
    this.#whenClosed?.(this)
  }
}

/** A kind of credit that a frame has none of is not granted: of what is never granted there is no end in a queue group. */
const creditOf = ({ bytes, messages }: CreditFrame): WireCredit => ({
  bytes: bytes === 0 ? undefined : bytes,
  messages: messages === 0 ? undefined : messages,
})

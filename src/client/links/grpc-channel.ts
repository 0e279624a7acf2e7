/**
 * One connection of HTTP/2, and the calls of gRPC on it. It is made by node:http2: grpc-js would reconnect, retry and fall idle
 * by itself, and copies each batch twice on its way. A connection that is lost is over; calls under way end as they end, and
 * no new one begins.
 */
import { type ClientHttp2Session, connect, type OutgoingHttpHeaders } from 'node:http2'
import { isIP } from 'node:net'
import { frameOf, type Method, status } from '../../../proto/index.ts'
import { type Credentials, quoteForMessage, RatatoskrError } from '../../ports/index.ts'
import { abortError } from '../call.ts'
import type { LinkOptions } from '../link.ts'
import { type CallEvents, GrpcCall } from './grpc-call.ts'
import { type CallStatus, restoreError } from './grpc-errors.ts'
import { requestBytes } from './grpc-requests.ts'

/** HTTP/2 windows of a stream and of the connection, as on the broker's side. */
const windowBytes = 8 * 1024 * 1024
/** A batch comes in one frame, from a broker that writes such. */
const streamFrameBytesMax = 1024 * 1024
/** Room for what is around the batches of a message. */
const overheadBytes = 64 * 1024
/** A connection is asked for a sign of life so often, and cut when it gives none for so long. */
const [keepaliveMs, keepaliveTimeoutMs] = [20_000, 10_000]

/** The client's half of a method whose messages are streamed. */
type StreamMethod<Response> = Pick<Method<unknown, Response>, 'path' | 'responseDeserialize'>

export interface StreamEvents<Response> {
  response(response: Response): void
  /** Once, after the last response. */
  ended(reason: RatatoskrError | undefined): void
}

export class GrpcChannel {
  readonly #session: ClientHttp2Session
  readonly #headers: OutgoingHttpHeaders
  readonly #bytesMax: number
  readonly #calls = new Set<GrpcCall>()
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  /** Resolves once it is closing and every call has ended, and so every subscription was told. */
  readonly #idle = Promise.withResolvers<void>()
  /** Why no new call may begin. */
  #over: RatatoskrError | undefined
  #closing = false

  private constructor(session: ClientHttp2Session, credentials: Credentials, bytesMax: number) {
    this.#session = session
    this.#headers = headersOf(credentials)
    this.#bytesMax = bytesMax
    const lost = (): void => {
      if (this.#closing) return
      this.#over = new RatatoskrError('RTK_CLOSED', 'the connection was lost before the call')
      this.#settleWhenIdle()
    }
    session.once('goaway', lost)
    session.once('close', lost)
    // What nobody waits for holds no process.
    session.unref()
    keepAlive(session)
  }

  /** @throws RTK_DISCONNECTED, RTK_CANCELLED, RTK_TIMEOUT */
  static async open(url: URL, options: LinkOptions): Promise<GrpcChannel> {
    const target = `${url.hostname}:${url.port === '' ? 50_051 : url.port}`
    const secure = url.protocol === 'grpcs:'
    if (secure && isIP(url.hostname.replace(/[[\]]/g, '')) !== 0) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `grpcs:// needs a host name, for certificates are checked against it; got the address ${url.hostname}`,
      )
    }
    if (options.signal?.aborted) throw abortError(options.signal, 'connecting')
    const settings = { enablePush: false, initialWindowSize: windowBytes, maxFrameSize: streamFrameBytesMax }
    const session = connect(`${secure ? 'https' : 'http'}://${target}`, {
      settings,
      // Else no stream could be opened while more than 10 MB wait to be sent.
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
    })
    await connected(session, target, options.signal)
    return new GrpcChannel(session, options.credentials, options.frameBytesMax + overheadBytes)
  }

  /** Settles when it is over: see `Link.closed`. */
  get closed(): Promise<RatatoskrError | undefined> {
    return this.#ended.promise
  }

  /**
   * Makes a unary call.
   * @throws what the broker answered; RTK_CLOSED when the channel is over, RTK_CANCELLED or RTK_TIMEOUT by the signal,
   *   RTK_INVALID_ARGUMENT for a request that cannot be written
   */
  unary<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    signal?: AbortSignal,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) throw this.#over
      if (signal?.aborted) throw abortError(signal, method.path)
      assertTexts(request as object)
      const bytes = requestBytes(method, request)
      let answer: Uint8Array | undefined
      const call = this.#begin(method.path, {
        message: (message) => {
          answer = message
        },
        ended: (ended) => {
          signal?.removeEventListener('abort', abort)
          try {
            if (ended.code !== status.OK) throw this.errorOf(ended)
            resolve(decoded(method, answer))
          } catch (error) {
            reject(error)
          }
        },
      })
      const abort = (): void => {
        if (signal !== undefined) reject(abortError(signal, method.path))
        call.cancel()
      }
      call.write(frameOf(bytes))
      call.end()
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  /**
   * Opens a stream, to which frames of requests are written.
   * @throws RTK_CLOSED when the channel is over
   */
  stream<Response>(method: StreamMethod<Response>, events: StreamEvents<Response>): GrpcCall {
    if (this.#over !== undefined) throw this.#over
    const call = this.#begin(method.path, {
      message: (bytes) => {
        let response: Response
        try {
          response = decoded(method, bytes)
        } catch (error) {
          call.cancel({ code: status.INTERNAL, details: (error as Error).message })
          return
        }
        events.response(response)
      },
      ended: (ended) => events.ended(ended.code === status.OK ? undefined : this.errorOf(ended)),
    })
    return call
  }

  /** The error of a call that failed. */
  errorOf(ended: CallStatus): RatatoskrError {
    return this.#closing ? closedError() : restoreError(ended)
  }

  /** Cancels what is under way, which ends with RTK_CLOSED, and closes the connection. Resolves after that. Idempotent. */
  async close(): Promise<void> {
    this.#closing = true
    this.#over ??= closedError()
    for (const call of [...this.#calls]) call.cancel()
    this.#session.close()
    if (this.#calls.size === 0) this.#idle.resolve()
    await this.#idle.promise
    this.#ended.resolve(undefined)
  }

  #begin(path: string, events: CallEvents): GrpcCall {
    if (this.#calls.size === 0) this.#session.ref()
    const stream = this.#session.request({ ...this.#headers, ':path': path })
    const call = new GrpcCall(stream, this.#bytesMax, {
      message: events.message,
      ended: (ended) => {
        events.ended(ended)
        this.#forget(call)
      },
    })
    this.#calls.add(call)
    return call
  }

  #forget(call: GrpcCall): void {
    this.#calls.delete(call)
    if (this.#calls.size > 0) return
    this.#session.unref()
    if (this.#over !== undefined) this.#settleWhenIdle()
    if (this.#closing) this.#idle.resolve()
  }

  /** A broker that stops still answers what is under way; a connection that broke ends it at once. */
  #settleWhenIdle(): void {
    if (this.#calls.size > 0 || this.#closing) return
    this.#ended.resolve(
      new RatatoskrError('RTK_DISCONNECTED', 'the connection to the broker is lost; connect again'),
    )
    this.#closing = true
    this.#session.close()
  }
}

const closedError = (): RatatoskrError => new RatatoskrError('RTK_CLOSED', 'the link is closed; open another')

/** @throws RTK_INTERNAL for an answer that is none */
function decoded<Response>(
  { path, responseDeserialize }: StreamMethod<Response>,
  bytes: Uint8Array | undefined,
): Response {
  try {
    if (bytes !== undefined)
      return responseDeserialize(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  } catch (error) {
    throw new RatatoskrError('RTK_INTERNAL', `the broker's answer to ${path} cannot be read`, {
      cause: error,
    })
  }
  throw new RatatoskrError('RTK_INTERNAL', `the broker ended ${path} without an answer`)
}

/** What all calls have in common. */
function headersOf(credentials: Credentials): OutgoingHttpHeaders {
  const headers = {
    ':method': 'POST',
    'content-type': 'application/grpc+proto',
    te: 'trailers',
    'user-agent': 'grpc-node-ratatoskr',
  }
  if (credentials.kind === 'bearer') return { ...headers, authorization: `Bearer ${credentials.token}` }
  if (credentials.kind === 'none') return headers
  const pair = `${credentials.username}:${credentials.password}`
  return { ...headers, authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** Cuts a connection whose other end is silent. */
function keepAlive(session: ClientHttp2Session): void {
  const timer = setInterval(() => {
    if (session.destroyed) return
    const silent = setTimeout(() => session.destroy(), keepaliveTimeoutMs).unref()
    session.ping(() => clearTimeout(silent))
  }, keepaliveMs).unref()
  session.once('close', () => clearInterval(timer))
}

/** Resolves when the other end has shown that it speaks HTTP/2. @throws RTK_DISCONNECTED, or by the signal */
function connected(
  session: ClientHttp2Session,
  target: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let failure: unknown
    const abort = (): void => {
      if (signal !== undefined) reject(abortError(signal, 'connecting'))
      session.destroy()
    }
    const settled = (): void => signal?.removeEventListener('abort', abort)
    signal?.addEventListener('abort', abort, { once: true })
    session.on('error', (error) => {
      failure ??= error
    })
    session.once('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(windowBytes)
    })
    session.once('remoteSettings', () => {
      settled()
      resolve()
    })
    session.once('close', () => {
      settled()
      reject(
        new RatatoskrError(
          'RTK_DISCONNECTED',
          `no gRPC broker answers at ${target}; check the address and that the broker runs`,
          { cause: failure },
        ),
      )
    })
  })
}

/** Names of things, which protobuf would make texts of whatever they are. */
const names = ['topic', 'group', 'member'] as const

/** @throws RTK_INVALID_ARGUMENT for a name that is no text */
function assertTexts(request: { readonly [name in (typeof names)[number]]?: unknown }): void {
  for (const name of names) {
    const value = request[name]
    if (value === undefined || typeof value === 'string') continue
    throw new RatatoskrError(
      name === 'topic' ? 'RTK_TOPIC_NAME_INVALID' : 'RTK_INVALID_ARGUMENT',
      `${name} must be a text, got ${quoteForMessage(value)}`,
    )
  }
}

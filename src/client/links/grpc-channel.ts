/**
 * One HTTP/2 connection by grpc-js, kept from being more than that: grpc-js would reconnect, retry and fall idle by
 * itself. Here a connection that is lost is over; calls under way end as they end, and no new one begins.
 */
import { isIP } from 'node:net'
import {
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  credentials as channelCredentials,
  connectivityState,
  Metadata,
  type MethodDefinition,
} from '@grpc/grpc-js'
import { type Credentials, quoteForMessage, RatatoskrError } from '../../ports/index.ts'
import { abortError } from '../call.ts'
import type { LinkOptions } from '../link.ts'
import { type CallStatus, restoreError } from './grpc-errors.ts'
import { requestBytes, type Writing } from './grpc-requests.ts'

/** HTTP/2 windows of a stream and of the connection, as on the broker's side. */
const windowBytes = 8 * 1024 * 1024
/** Room for what is around the batches of a message. */
const overheadBytes = 64 * 1024

/** The client's half of a method. */
type StreamMethod<Request, Response> = Writing<Request> &
  Pick<MethodDefinition<unknown, Response>, 'responseDeserialize'>

const asIs = (bytes: Buffer): Buffer => bytes

interface Cancellable {
  cancel(): void
}

export class GrpcChannel {
  readonly #client: Client
  readonly #metadata: Metadata
  readonly #calls = new Set<Cancellable>()
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  /** Resolves once it is closing and every call has ended, and so every subscription was told. */
  readonly #idle = Promise.withResolvers<void>()
  /** Why no new call may begin. */
  #over: RatatoskrError | undefined
  #closing = false

  private constructor(client: Client, metadata: Metadata) {
    this.#client = client
    this.#metadata = metadata
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
    const credentials = secure ? channelCredentials.createSsl() : channelCredentials.createInsecure()
    const client = new Client(target, credentials, channelOptions(options.frameBytesMax))
    try {
      await connected(client, target, options.signal)
    } catch (error) {
      client.close()
      throw error
    }
    const channel = new GrpcChannel(client, metadataOf(options.credentials))
    channel.#watch()
    return channel
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
    method: MethodDefinition<Request, Response>,
    request: Request,
    signal?: AbortSignal,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      if (this.#over !== undefined) throw this.#over
      if (signal?.aborted) throw abortError(signal, method.path)
      assertTexts(request as object)
      const bytes = requestBytes(method, request)
      const abort = (): void => {
        if (signal !== undefined) reject(abortError(signal, method.path))
        // A call that is cancelled before grpc-js gave it to its connection keeps the connection open for up to ten seconds
        // after the channel was closed, and a broker that stops waits for it.
        setImmediate(() => call.cancel())
      }
      const call = this.#client.makeUnaryRequest<Buffer, Response>(
        method.path,
        asIs,
        method.responseDeserialize,
        bytes,
        this.#metadata,
        (error, response) => {
          signal?.removeEventListener('abort', abort)
          this.#forget(call)
          if (error !== null) reject(this.errorOf(error))
          else if (response !== undefined) resolve(response)
        },
      )
      this.#calls.add(call)
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  /**
   * Opens a stream, to which requests are written as `requestBytes` makes them.
   * @param ended called once, after the last response
   * @throws RTK_CLOSED when the channel is over
   */
  stream<Request, Response>(
    method: StreamMethod<Request, Response>,
    ended: (reason: RatatoskrError | undefined) => void,
  ): ClientDuplexStream<Buffer, Response> {
    if (this.#over !== undefined) throw this.#over
    const call = this.#client.makeBidiStreamRequest<Buffer, Response>(
      method.path,
      asIs,
      method.responseDeserialize,
      this.#metadata,
    )
    this.#calls.add(call)
    // The status may come while responses still wait to be read.
    let status: CallStatus | undefined
    let read = false
    const finish = (): void => {
      if (status === undefined || !read) return
      ended(status.code === 0 ? undefined : this.errorOf(status))
      this.#forget(call)
    }
    call.on('error', () => undefined) // 'status' says the same
    call.once('status', (final: CallStatus) => {
      status = final
      finish()
    })
    call.once('end', () => {
      read = true
      finish()
    })
    return call
  }

  /** The error of a call that failed. */
  errorOf(status: CallStatus): RatatoskrError {
    return this.#closing ? closedError() : restoreError(status)
  }

  /** Cancels what is under way, which ends with RTK_CLOSED, and closes the connection. Resolves after that. Idempotent. */
  async close(): Promise<void> {
    this.#closing = true
    this.#over ??= closedError()
    for (const call of [...this.#calls]) call.cancel()
    this.#client.close()
    if (this.#calls.size === 0) this.#idle.resolve()
    await this.#idle.promise
    this.#ended.resolve(undefined)
  }

  #watch(): void {
    const channel = this.#client.getChannel()
    channel.watchConnectivityState(connectivityState.READY, Number.POSITIVE_INFINITY, () => {
      if (this.#closing) return
      this.#over = new RatatoskrError('RTK_CLOSED', 'the connection was lost before the call')
      this.#settleWhenIdle()
    })
  }

  #forget(call: Cancellable): void {
    this.#calls.delete(call)
    if (this.#over !== undefined) this.#settleWhenIdle()
    if (this.#closing && this.#calls.size === 0) this.#idle.resolve()
  }

  /** A broker that stops still answers what is under way; a connection that broke ends it at once. */
  #settleWhenIdle(): void {
    if (this.#calls.size > 0 || this.#closing) return
    this.#ended.resolve(
      new RatatoskrError('RTK_DISCONNECTED', 'the connection to the broker is lost; connect again'),
    )
    this.#closing = true
    this.#client.close()
  }
}

const closedError = (): RatatoskrError => new RatatoskrError('RTK_CLOSED', 'the link is closed; open another')

const channelOptions = (frameBytesMax: number): ClientOptions => ({
  'grpc.max_receive_message_length': frameBytesMax + overheadBytes,
  'grpc.max_send_message_length': -1,
  'grpc-node.flow_control_window': windowBytes,
  'grpc.keepalive_time_ms': 20_000,
  'grpc.keepalive_timeout_ms': 10_000,
  'grpc.keepalive_permit_without_calls': 1,
  // A link is one connection of its own, and nothing but the client's core decides about another attempt.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_retries': 0,
  'grpc.client_idle_timeout_ms': 2 ** 31 - 1,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
})

function metadataOf(credentials: Credentials): Metadata {
  const metadata = new Metadata()
  if (credentials.kind === 'bearer') metadata.set('authorization', `Bearer ${credentials.token}`)
  if (credentials.kind === 'basic') {
    const pair = `${credentials.username}:${credentials.password}`
    metadata.set('authorization', `Basic ${Buffer.from(pair).toString('base64')}`)
  }
  return metadata
}

/** Resolves when the first connection stands. @throws RTK_DISCONNECTED after one failed attempt, or by the signal */
function connected(client: Client, target: string, signal: AbortSignal | undefined): Promise<void> {
  // grpc-js lets the process end while it connects: nothing else may hold it.
  const hold = setInterval(() => undefined, 2 ** 31 - 1)
  const attempt = new Promise<void>((resolve, reject) => {
    const abort = (): void => {
      if (signal !== undefined) reject(abortError(signal, 'connecting'))
    }
    if (signal?.aborted) {
      abort()
      return
    }
    signal?.addEventListener('abort', abort, { once: true })
    const channel = client.getChannel()
    const look = (): void => {
      const state = channel.getConnectivityState(true)
      if (state === connectivityState.READY) resolve()
      else if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) {
        reject(
          new RatatoskrError(
            'RTK_DISCONNECTED',
            `no gRPC broker answers at ${target}; check the address and that the broker runs`,
          ),
        )
      } else {
        channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, look)
        return
      }
      signal?.removeEventListener('abort', abort)
    }
    look()
  })
  return attempt.finally(() => clearInterval(hold))
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

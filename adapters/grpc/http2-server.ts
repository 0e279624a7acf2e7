/**
 * HTTP/2 on the connections of our own listening socket, which are handed over: then binding fails with error codes, and the
 * end of a connection is an event.
 */
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { Limits } from 'ratatoskr/ports'
import type { CallStream } from './call-stream.ts'
import type { Connection, Connections } from './connections.ts'
import { NodeStream } from './node-stream.ts'

/** HTTP/2 windows of a stream and of a connection. */
const windowBytes = 8 * 1024 * 1024

/** Fields of a request around its batch or messages. */
const requestOverheadBytes = 64 * 1024
/** Streams beside subscriptions: unary calls wait in the client above this. */
const callStreamsMax = 128

/** Largest message to accept. */
export const requestBytesMax = ({ batchBytesMax }: Limits): number => batchBytesMax + requestOverheadBytes

export interface Http2Options {
  readonly limits: Limits
  readonly tls: { readonly key: string; readonly cert: string; readonly ca?: string } | undefined
  /** A connection is asked for a sign of life so often, and cut when it gives none for so long. */
  readonly keepaliveIntervalMs: number
  readonly keepaliveTimeoutMs: number
}

export class Http2Connections {
  readonly #server: Http2Server | Http2SecureServer
  readonly #sessions = new Map<ServerHttp2Session, Connection | undefined>()
  readonly #options: Http2Options

  /** @param serve called with each stream that begins */
  constructor(options: Http2Options, connections: Connections, serve: (stream: CallStream) => void) {
    this.#options = options
    const { limits, tls } = options
    const http2 = {
      settings: {
        initialWindowSize: windowBytes,
        maxConcurrentStreams: limits.subscriptionsPerSessionMax + callStreamsMax,
        enablePush: false,
      },
      // Else no stream could be opened while more than 10 MB wait to be sent: calls are bounded by what they keep.
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
    }
    this.#server =
      tls === undefined
        ? createServer(http2)
        : createSecureServer({ ...http2, ...tls, requestCert: tls.ca !== undefined })
    this.#server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.set(session, connections.of(session.socket))
      session.setLocalWindowSize(windowBytes)
      const keepalive = this.#keepAlive(session)
      session.on('close', () => {
        clearInterval(keepalive)
        this.#sessions.delete(session)
      })
    })
    this.#server.on('stream', (stream: ServerHttp2Stream, headers) => {
      const { session } = stream
      serve(new NodeStream(stream, headers, session && this.#sessions.get(session as ServerHttp2Session)))
    })
    // A connection that breaks the protocol is closed by http2; there is nothing to add, and no listener would throw.
    this.#server.on('sessionError', () => undefined)
  }

  add(socket: Socket): void {
    this.#server.emit('connection', socket)
  }

  /** Takes no more calls, and closes each connection when its calls are over. */
  close(): void {
    for (const session of this.#sessions.keys()) session.close()
  }

  destroy(): void {
    for (const session of this.#sessions.keys()) session.destroy()
  }

  #keepAlive(session: ServerHttp2Session): NodeJS.Timeout {
    const { keepaliveIntervalMs, keepaliveTimeoutMs } = this.#options
    return setInterval(() => {
      if (session.destroyed) return
      const silent = setTimeout(() => session.destroy(), keepaliveTimeoutMs).unref()
      session.ping(() => clearTimeout(silent))
    }, keepaliveIntervalMs).unref()
  }
}

/**
 * The grpc-js server behind our own listening socket.
 *
 * Two things of grpc-js 1.14 are reached by private fields, each checked and tested, for want of a public way: its
 * server ignores `grpc-node.flow_control_window`, and the default windows of 64 KiB cost four fifths of the ingest. So
 * the settings that it will give http2 are changed before the http2 server is made, and each connection's own window
 * when it comes up.
 *
 * The listening socket is ours, and its connections are handed over by the public injector: then binding fails with
 * error codes rather than texts, and the end of a connection is an event.
 */
import type {
  Http2Server,
  IncomingHttpHeaders,
  ServerHttp2Session,
  ServerHttp2Stream,
  Settings,
} from 'node:http2'
import { type ConnectionInjector, Server, type ServerCredentials } from '@grpc/grpc-js'
import { type Limits, RatatoskrError } from 'ratatoskr/ports'

/** HTTP/2 windows of a stream and of a connection. */
const windowBytes = 8 * 1024 * 1024

/** Fields of a request around its batch or messages. */
const requestOverheadBytes = 64 * 1024
/** Streams beside subscriptions: unary calls wait in the client above this. */
const callStreamsMax = 128

/** Serves a stream, or leaves it to grpc-js. @returns true when it serves it */
export type TakeStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean

/** Largest message to accept. */
export const requestBytesMax = ({ batchBytesMax }: Limits): number => batchBytesMax + requestOverheadBytes

export interface KeepaliveOptions {
  readonly intervalMs: number
  readonly timeoutMs: number
}

interface Internals {
  readonly commonServerOptions?: { settings?: Settings }
  readonly http2Servers?: ReadonlyMap<Http2Server, unknown>
}

export function makeServer(limits: Limits, keepalive: KeepaliveOptions): Server {
  const server = new Server({
    'grpc.max_receive_message_length': requestBytesMax(limits),
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': limits.subscriptionsPerSessionMax + callStreamsMax,
    'grpc.keepalive_time_ms': keepalive.intervalMs,
    'grpc.keepalive_timeout_ms': keepalive.timeoutMs,
    // Its counters cost time on every message, and nobody reads them.
    'grpc.enable_channelz': 0,
  })
  const { commonServerOptions } = server as unknown as Internals
  if (commonServerOptions === undefined) throw unknownVersion()
  commonServerOptions.settings = { ...commonServerOptions.settings, initialWindowSize: windowBytes }
  return server
}

/** Where connections are handed to the server. */
export function makeInjector(
  server: Server,
  credentials: ServerCredentials,
  take: TakeStream,
): ConnectionInjector {
  const injector = server.createConnectionInjector(credentials)
  const { http2Servers } = server as unknown as Internals
  if (http2Servers === undefined || http2Servers.size === 0) throw unknownVersion()
  for (const http2Server of http2Servers.keys()) {
    http2Server.on('session', (session: ServerHttp2Session) => session.setLocalWindowSize(windowBytes))
    takeFirst(http2Server, take)
    // A connection that breaks the protocol is closed by http2; there is nothing to add, and no listener would throw.
    http2Server.on('sessionError', () => undefined)
  }
  return injector
}

/** Lets `take` choose among the streams before grpc-js gets the others. */
function takeFirst(http2Server: Http2Server, take: TakeStream): void {
  const others = http2Server.listeners('stream')
  http2Server.removeAllListeners('stream')
  http2Server.on('stream', (stream: ServerHttp2Stream, headers, ...more) => {
    if (take(stream, headers)) return
    for (const other of others) other.call(http2Server, stream, headers, ...more)
  })
}

const unknownVersion = (): RatatoskrError =>
  new RatatoskrError(
    'RTK_INTERNAL',
    'this version of @grpc/grpc-js keeps its http2 settings elsewhere: install the version that package.json pins',
  )

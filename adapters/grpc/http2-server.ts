/**
 * HTTP/2 on the connections of our own listening socket: by prior knowledge, or behind TLS that has agreed on it. The server of
 * node:http2 spends more on each call than a publish takes.
 */
import type { Socket } from 'node:net'
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls'
import { type Reading, readTurns } from 'ratatoskr/adapters/frames'
import type { Limits } from 'ratatoskr/ports'
import { readSocket } from 'ratatoskr/proto'
import { answerHeaders } from './call-headers.ts'
import type { CallStream } from './call-stream.ts'
import type { Connection, Connections } from './connections.ts'
import { type ConnectionOptions, Http2Connection } from './http2/connection.ts'

/** HTTP/2 windows of a stream and of a connection. */
const windowBytes = 8 * 1024 * 1024

/** Fields of a request around its batch or messages. */
const requestOverheadBytes = 64 * 1024
/** Streams beside subscriptions: unary calls wait in the client above this. */
const callStreamsMax = 128

/** Where all connections are read: what comes is copied where it belongs before the next read. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024)

/** Largest message to accept. */
export const requestBytesMax = ({ batchBytesMax }: Limits): number => batchBytesMax + requestOverheadBytes

export interface Http2Options {
  readonly limits: Limits
  readonly tls: { readonly key: string; readonly cert: string; readonly ca?: string } | undefined
  /** A connection that is silent for so long is asked for a sign of life, and cut when it gives none for so long. */
  readonly keepaliveIntervalMs: number
  readonly keepaliveTimeoutMs: number
}

export class Http2Connections {
  readonly #open = new Map<Socket, Http2Connection>()
  /** Those that have not agreed on TLS yet. */
  readonly #greeting = new Set<Connection>()
  readonly #connections: Connections
  readonly #options: ConnectionOptions
  readonly #tls: TlsServer | undefined
  readonly #keepalive: NodeJS.Timeout
  readonly #silenceMs: number

  /** @param serve called with each stream that begins */
  constructor(options: Http2Options, connections: Connections, serve: (stream: CallStream) => void) {
    const { limits, tls } = options
    this.#connections = connections
    this.#options = {
      streamsMax: limits.subscriptionsPerSessionMax + callStreamsMax,
      windowBytes,
      answerHeaders,
      serve,
    }
    if (tls !== undefined) this.#tls = this.#tlsServer(tls, options.keepaliveTimeoutMs)
    this.#silenceMs = options.keepaliveTimeoutMs
    this.#keepalive = setInterval(() => this.#ask(), options.keepaliveIntervalMs).unref()
  }

  add(socket: Socket): void {
    const owner = this.#connections.of(socket)
    if (this.#tls === undefined) this.#begin(socket, owner)
    else if (owner !== undefined) {
      this.#greeting.add(owner)
      socket.once('close', () => this.#greeting.delete(owner))
      this.#tls.emit('connection', socket)
    }
  }

  /** Takes no more calls, and closes each connection when its calls are over: at once those that have not begun. */
  close(): void {
    for (const { socket } of this.#greeting) socket.destroy()
    for (const connection of this.#open.values()) connection.close()
  }

  destroy(): void {
    clearInterval(this.#keepalive)
    for (const socket of this.#open.keys()) socket.destroy()
  }

  #tlsServer({ ca, ...pair }: NonNullable<Http2Options['tls']>, handshakeTimeout: number): TlsServer {
    const server = createServer({
      ...pair,
      ...(ca !== undefined && { ca, requestCert: true, rejectUnauthorized: true }),
      ALPNProtocols: ['h2'],
      handshakeTimeout,
    })
    server.on('secureConnection', (socket: TLSSocket) => {
      socket.on('error', () => undefined) // 'close' follows and is what counts
      const owner = this.#connections.of(socket)
      if (owner !== undefined) this.#greeting.delete(owner)
      // Who speaks HTTP/2 says so, by RFC 9113.
      if (socket.alpnProtocol === 'h2') this.#begin(socket, owner)
      else socket.destroy()
    })
    // A handshake that fails, or takes too long, ends its own connection.
    server.on('tlsClientError', (_error, socket) => socket.destroy())
    return server
  }

  #begin(socket: Socket, owner: Connection | undefined): void {
    const connection = new Http2Connection(socket, owner, this.#options)
    this.#open.set(socket, connection)
    socket.on('close', () => {
      this.#open.delete(socket)
      connection.lost()
    })
    readInTurn(socket, connection)
  }

  /** Asks each connection for a sign of life. */
  #ask(): void {
    const asked = Array.from(this.#open, ([socket, connection]) => {
      connection.ping()
      return { socket, connection, reads: connection.reads }
    })
    setTimeout(() => {
      for (const { socket, connection, reads } of asked) if (connection.reads === reads) socket.destroy()
    }, this.#silenceMs).unref()
  }
}

/** Reads a connection, which lets others have their part before it goes on when it has more, and waits while it must. */
function readInTurn(socket: Socket, connection: Http2Connection): void {
  const use = connection.owner?.use
  const goOn = (): void => {
    if (!socket.destroyed && !use?.mustWait(goOn)) socket.resume()
  }
  const reading: Reading = { visitBytes: 0, visitMs: 0, goOn }
  readSocket(socket, readBuffer, (chunk) => {
    readTurns.begins()
    connection.came(chunk)
    const mayGoOn = readTurns.mayGoOn(reading, chunk.length, chunk.length === readBuffer.length)
    return mayGoOn && !use?.mustWait(goOn)
  })
}

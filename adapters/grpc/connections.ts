/**
 * Sessions of HTTP/2 connections. Credentials come with every call, so a session belongs to a connection and the
 * `authorization` that came over it: the first call authenticates, the others find the session. All sessions of a
 * connection end when its socket closes.
 */
import type { Socket } from 'node:net'
import {
  type BrokerFacade,
  type Credentials,
  isLocalHost,
  type MaybePromise,
  type Peer,
  RatatoskrError,
  type Session,
} from 'ratatoskr/ports'
import { ConnectionUse } from './connection-bounds.ts'

/** What finding the session of a call needs. */
export interface Caller {
  /** Of the call; `undefined` when it is gone. */
  readonly connection: Connection | undefined
  /** What the call has as `authorization`, or an empty text. */
  readonly authorization: string
}

/** Different credentials that one connection may use: more is a mistake, or someone guessing. */
const credentialsPerConnectionMax = 16

export interface Connection {
  readonly socket: Socket
  readonly peer: Peer
  readonly use: ConnectionUse
  /** By what came as `authorization`; a promise until the broker has let it in. */
  readonly sessions: Map<string, MaybePromise<Session>>
}

export class Connections {
  readonly #broker: BrokerFacade
  readonly #encrypted: boolean
  readonly #open = new Set<Connection>()
  /** By the addresses and ports of both ends, which a socket of TLS has from that below it. */
  readonly #byEnds = new Map<string, Connection>()
  readonly #closing = new Set<Promise<void>>()

  constructor(broker: BrokerFacade, encrypted: boolean) {
    this.#broker = broker
    this.#encrypted = encrypted
  }

  /** Takes in a new connection. */
  add(socket: Socket): void {
    const address = socket.remoteAddress
    if (address === undefined) {
      socket.destroy()
      return
    }
    const peer: Peer = {
      transport: 'grpc',
      address: `${address}:${socket.remotePort}`,
      local: isLocalHost(address),
      encrypted: this.#encrypted,
    }
    const connection: Connection = { socket, peer, use: new ConnectionUse(), sessions: new Map() }
    const ends = endsOf(socket)
    this.#open.add(connection)
    this.#byEnds.set(ends, connection)
    socket.once('close', () => this.#forget(connection, ends))
  }

  /** The connection of a socket, which may be one of TLS over that which was added; `undefined` when it is closed. */
  of(socket: Socket): Connection | undefined {
    return this.#byEnds.get(endsOf(socket))
  }

  /**
   * The session of a call: at once when it stands, for a promise would cost each call more than finding it.
   * @throws RTK_UNAUTHENTICATED, RTK_LIMIT_EXCEEDED, RTK_DISCONNECTED when the connection is already gone
   */
  session(call: Caller): MaybePromise<Session> {
    const { connection, authorization } = call
    if (connection === undefined || connection.socket.destroyed) {
      throw new RatatoskrError('RTK_DISCONNECTED', 'the connection of this call is closed')
    }
    return connection.sessions.get(authorization) ?? this.#connect(connection, authorization)
  }

  /** Cuts every connection. */
  destroy(): void {
    for (const { socket } of this.#open) socket.destroy()
  }

  /** Resolves when every connection is closed; no more may be added. */
  async closed(): Promise<void> {
    const sockets = [...this.#open].map(({ socket }) => socket)
    await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))))
  }

  /** Resolves when the sessions of all connections that closed are over. */
  async settled(): Promise<void> {
    await Promise.all(this.#closing)
  }

  #connect({ peer, sessions, use }: Connection, authorization: string): Promise<Session> {
    if (sessions.size >= credentialsPerConnectionMax) {
      throw new RatatoskrError(
        'RTK_LIMIT_EXCEEDED',
        `one connection may use at most ${credentialsPerConnectionMax} different credentials; open another`,
      )
    }
    const connecting = this.#broker.connect(peer, credentialsOf(authorization))
    sessions.set(authorization, connecting)
    connecting.then(
      (session) => sessions.set(authorization, session),
      () => sessions.delete(authorization),
    )
    use.asks(connecting)
    return connecting
  }

  #forget(connection: Connection, ends: string): void {
    this.#open.delete(connection)
    // A client may use its port again before its last connection is known to be closed.
    if (this.#byEnds.get(ends) === connection) this.#byEnds.delete(ends)
    for (const session of connection.sessions.values()) {
      // Who could not connect has nothing to close.
      const closing = Promise.resolve(session).then(
        (opened) => opened.close(),
        () => undefined,
      )
      const done = closing
        .catch((error: unknown) => this.#broker.platform.logger.warn('session did not close', { error }))
        .finally(() => this.#closing.delete(done))
      this.#closing.add(done)
    }
  }
}

const endsOf = ({ remoteAddress, remotePort, localAddress, localPort }: Socket): string =>
  `${remoteAddress}:${remotePort} ${localAddress}:${localPort}`

/** @throws RTK_UNAUTHENTICATED when the header is of another scheme */
function credentialsOf(authorization: string): Credentials {
  if (authorization === '') return { kind: 'none' }
  const token = /^bearer +(\S+) *$/i.exec(authorization)?.[1]
  if (token !== undefined) return { kind: 'bearer', token }
  const basic = /^basic +(\S+) *$/i.exec(authorization)?.[1]
  const pair = basic === undefined ? '' : Buffer.from(basic, 'base64').toString()
  const colon = pair.indexOf(':')
  if (colon !== -1) {
    return { kind: 'basic', username: pair.slice(0, colon), password: pair.slice(colon + 1) }
  }
  throw new RatatoskrError(
    'RTK_UNAUTHENTICATED',
    'the authorization metadata must be `Bearer <token>` or `Basic <base64 of user:password>`',
  )
}

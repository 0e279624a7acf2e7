/**
 * Sessions of HTTP connections. HTTP has no log-in, so a session belongs to a socket and the credentials that came over
 * it: authentication runs once for both, not for each request, and everything ends when the socket closes.
 */
import type { Socket } from 'node:net'
import { type BrokerFacade, type Credentials, RatatoskrError, type Session } from 'ratatoskr/ports'

/** What a request is, as far as finding its session goes. */
export interface Caller {
  readonly socket: Socket
  readonly authorization: string | undefined
}

const credentialsPerSocketMax = 8

export class Sessions {
  readonly #broker: BrokerFacade
  readonly #transport: string
  readonly #open = new Map<Socket, Map<string, Promise<Session>>>()

  constructor(broker: BrokerFacade, transport: string) {
    this.#broker = broker
    this.#transport = transport
  }

  /** The caller's session. @throws RTK_UNAUTHENTICATED */
  of(caller: Caller): Promise<Session> {
    const { socket, authorization = '' } = caller
    if (socket.destroyed) throw new RatatoskrError('RTK_DISCONNECTED', 'the caller has hung up')
    let sessions = this.#open.get(socket)
    if (sessions === undefined) {
      sessions = new Map()
      this.#open.set(socket, sessions)
      socket.once('close', () => this.#forget(socket))
    }
    let session = sessions.get(authorization)
    if (session === undefined) {
      if (sessions.size >= credentialsPerSocketMax) {
        throw new RatatoskrError(
          'RTK_LIMIT_EXCEEDED',
          `one connection may use at most ${credentialsPerSocketMax} different credentials; open another`,
        )
      }
      session = this.#connect(caller)
      sessions.set(authorization, session)
      const opened = sessions
      session.catch(() => opened.delete(authorization))
    }
    return session
  }

  /** Ends every session. */
  async close(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((socket) => this.#forget(socket)))
  }

  #connect({ socket, authorization }: Caller): Promise<Session> {
    const remote = socket.remoteAddress ?? ''
    const local = remote === '' || remote === '::1' || remote.replace('::ffff:', '').startsWith('127.')
    const address = `${remote}:${socket.remotePort ?? 0}`
    const encrypted = 'encrypted' in socket && socket.encrypted === true
    return this.#broker.connect(
      { transport: this.#transport, address, local, encrypted },
      credentialsOf(authorization),
    )
  }

  async #forget(socket: Socket): Promise<void> {
    const sessions = this.#open.get(socket)
    if (sessions === undefined) return
    this.#open.delete(socket)
    await Promise.allSettled([...sessions.values()].map(async (session) => (await session).close()))
  }
}

/** Reads an `authorization` header. @throws RTK_UNAUTHENTICATED when it is of a scheme that is not known */
export function credentialsOf(authorization: string | undefined): Credentials {
  if (authorization === undefined || authorization === '') return { kind: 'none' }
  const space = authorization.indexOf(' ')
  const scheme = authorization.slice(0, Math.max(space, 0)).toLowerCase()
  const value = authorization.slice(space + 1).trim()
  if (scheme === 'bearer' && value !== '') return { kind: 'bearer', token: value }
  if (scheme === 'basic') {
    const text = Buffer.from(value, 'base64').toString('utf8')
    const colon = text.indexOf(':')
    if (colon > 0) return { kind: 'basic', username: text.slice(0, colon), password: text.slice(colon + 1) }
  }
  throw new RatatoskrError(
    'RTK_UNAUTHENTICATED',
    'the authorization header must be "Bearer <token>" or "Basic <base64>"',
  )
}

/** The sessions of the broker: who may have one, how many there are, and their common end. */
import { type ErrorCode, RatatoskrError, toRatatoskrError } from '../domain/errors.ts'
import type {
  Authenticator,
  Authorizer,
  Credentials,
  Grants,
  Limits,
  Peer,
  Platform,
  Principal,
  Session,
} from '../ports/index.ts'
import type { Admission } from './admission/admission.ts'
import type { Hooks } from './seams.ts'

/**
 * @param admission undefined for who is never refused for the broker's load
 * @param closed called once, when it has ended
 */
type OpenSession = (
  id: string,
  principal: Principal,
  grants: Grants,
  admission: Admission | undefined,
  closed: (session: Session) => void,
) => Session

export interface SessionTableParts {
  readonly authenticator: Authenticator
  readonly authorizer: Authorizer
  readonly hooks: Hooks
  readonly platform: Platform
  readonly limits: Limits
  readonly admission: Admission
  readonly open: OpenSession
}

const embeddedPeer: Peer = Object.freeze({
  transport: 'embedded',
  address: 'embedded',
  local: true,
  encrypted: false,
})

/** Whoever holds the broker itself could do everything anyway. */
const everything: Grants = Object.freeze({ allows: () => true })

export class SessionTable {
  readonly #parts: SessionTableParts
  /** Those that are open, with who is at their other end. */
  readonly #sessions = new Map<Session, Peer>()
  #connecting = 0
  #accepting = false

  constructor(parts: SessionTableParts) {
    this.#parts = parts
  }

  get size(): number {
    return this.#sessions.size
  }

  /** From now on sessions may be opened. */
  accept(): void {
    this.#accepting = true
  }

  /** From now on none may be opened; those that are open go on. */
  refuse(): void {
    this.#accepting = false
  }

  /** See `BrokerFacade.connect`. */
  async connect(peer: Peer, credentials: Credentials): Promise<Session> {
    try {
      return await this.#admit(peer, credentials)
    } catch (thrown) {
      const error = toRatatoskrError(thrown)
      const { hooks } = this.#parts
      if (hooks.observes('connectRefused')) hooks.emit('connectRefused', { peer, error })
      throw error
    }
  }

  async #admit(peer: Peer, credentials: Credentials): Promise<Session> {
    this.#assertRoom()
    const { authenticator, authorizer } = this.#parts
    // Counted while it waits, so that a slow authenticator does not let more in than there is room for.
    this.#connecting++
    try {
      const principal = await codedOr('RTK_UNAUTHENTICATED', () =>
        authenticator.authenticate(peer, credentials),
      )
      const grants = await codedOr('RTK_PERMISSION_DENIED', () => authorizer.grants(principal))
      this.#assertAccepting()
      return this.#open(peer, principal, grants, this.#parts.admission)
    } finally {
      this.#connecting--
    }
  }

  /** Opens a session that may do everything: for the process that holds the broker. */
  connectEmbedded(principal: Principal): Session {
    this.#assertRoom()
    return this.#open(embeddedPeer, principal, everything, undefined)
  }

  /** Opens a session for a principal who is connected elsewhere, where he was admitted and is counted. */
  async openFor(principal: Principal): Promise<Session> {
    const { authorizer, platform, open, admission } = this.#parts
    const grants = await codedOr('RTK_PERMISSION_DENIED', () => authorizer.grants(principal))
    this.#assertAccepting()
    return open(platform.random.uuid(), principal, grants, admission, () => {})
  }

  /** Ends every session. */
  async close(): Promise<void> {
    this.refuse()
    await Promise.all(Array.from(this.#sessions.keys(), (session) => session.close()))
  }

  /** @param admission undefined for the process that holds the broker: its event loop is the broker's, and nobody else's to guard */
  #open(peer: Peer, principal: Principal, grants: Grants, admission: Admission | undefined): Session {
    const { hooks, platform, open } = this.#parts
    const event = { sessionId: platform.random.uuid(), peer, principal }
    if (hooks.guards('connect')) hooks.check('connect', event)
    const session = open(event.sessionId, principal, grants, admission, this.#closed)
    this.#sessions.set(session, peer)
    if (hooks.observes('connected')) hooks.emit('connected', event)
    return session
  }

  readonly #closed = (session: Session): void => {
    const peer = this.#sessions.get(session)
    this.#sessions.delete(session)
    const { hooks } = this.#parts
    if (peer === undefined || !hooks.observes('disconnected')) return
    hooks.emit('disconnected', { sessionId: session.id, peer, principal: session.principal })
  }

  #assertRoom(): void {
    this.#assertAccepting()
    const { sessionsMax } = this.#parts.limits
    if (this.#sessions.size + this.#connecting >= sessionsMax) {
      throw new RatatoskrError(
        'RTK_LIMIT_EXCEEDED',
        `there are ${sessionsMax} sessions already (sessionsMax); close some or raise the limit`,
      )
    }
  }

  #assertAccepting(): void {
    if (!this.#accepting) {
      throw new RatatoskrError('RTK_UNAVAILABLE', 'the broker is not running; retry after a pause')
    }
  }
}

/** Fails closed: what an adapter throws that is no coded error is a refusal, and tells the peer nothing. */
async function codedOr<T>(code: ErrorCode, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw toRatatoskrError(error, code)
  }
}

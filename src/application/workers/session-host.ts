/**
 * The controller's side of sessions that are connected to another worker: each has a session here, opened for the same
 * principal, that does what only the controller can. Sinks are called over the mesh, one delivery at a time, so that one that
 * is full there is full here.
 */
import { RatatoskrError } from '../../domain/errors.ts'
import type { Principal, Session } from '../../ports/index.ts'
import type { MeshService } from './mesh-link.ts'
import type { ControllerOperations, MeshOperations } from './mesh-operations.ts'
import { pack, unpack } from './packing.ts'
import type { Peer } from './peer.ts'

type SessionOperations = Pick<
  ControllerOperations,
  'openSession' | 'closeSession' | 'session' | 'subscription'
>

/** Whatever can be asked of a session or subscription, by name. */
type Callable = Record<string, ((...args: unknown[]) => unknown) | undefined>

/** What of a subscription is plain. */
const subscriptionFields = [
  'id',
  'topic',
  'group',
  'member',
  'config',
  'memberTimeoutMs',
  'beginsFrom',
] as const

/** What may be asked of a subscription that is over. */
const harmlessAfterEnd: ReadonlySet<string> = new Set(['close', 'grant', 'heartbeat'])

export class SessionHost {
  readonly #peer: Peer
  readonly #open: (principal: Principal) => Promise<Session>
  readonly #sessions = new Map<string, Promise<Session>>()
  readonly #subscriptions = new Map<string, Callable>()

  /** @param peer the worker that the sessions are connected to */
  constructor(peer: Peer, open: (principal: Principal) => Promise<Session>) {
    this.#peer = peer
    this.#open = open
  }

  get service(): Pick<MeshService<MeshOperations>, keyof SessionOperations> {
    return {
      openSession: async ({ session, principal }) => {
        const opening = this.#open(principal)
        this.#sessions.set(session, opening)
        await opening
        return { value: undefined }
      },
      closeSession: async ({ session }) => {
        const open = this.#sessions.get(session)
        this.#sessions.delete(session)
        await (await open)?.close()
        return { value: undefined }
      },
      session: async (takes, _bytes, signal) => ({ value: await this.#call(takes, signal) }),
      subscription: async ({ key, method, args }) => {
        const subscription = this.#subscriptions.get(key)
        // Gone already: its end was told, and what was said meanwhile is about nothing.
        if (subscription === undefined) {
          if (harmlessAfterEnd.has(method)) return { value: undefined }
          throw new RatatoskrError('RTK_CLOSED', 'the subscription is over; subscribe again')
        }
        return { value: pack(await subscription[method]?.(...args)) }
      },
    }
  }

  /** Ends all sessions: the worker that they were connected to is gone. */
  async close(): Promise<void> {
    const sessions = [...this.#sessions.values()]
    this.#sessions.clear()
    this.#subscriptions.clear()
    await Promise.allSettled(sessions.map(async (session) => (await session).close()))
  }

  async #call(
    { session: id, method, args, signalAt, sink }: SessionOperations['session']['takes'],
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const opening = this.#sessions.get(id)
    if (opening === undefined) throw new RatatoskrError('RTK_CLOSED', 'the session is closed; connect again')
    const session = (await opening) as unknown as Callable
    const given = [...args]
    if (signalAt !== undefined) given[signalAt] = { ...(given[signalAt] as object), signal }
    if (sink === undefined) return pack(await session[method]?.(...given))
    const life = { over: false }
    const subscription = await session[method]?.(...given, this.#sinkOf(sink.key, sink.methods, life))
    if (!life.over) this.#subscriptions.set(sink.key, subscription as Callable)
    return pack(
      Object.fromEntries(subscriptionFields.map((name) => [name, (subscription as Callable)[name]])),
    )
  }

  /** A sink that is elsewhere. */
  #sinkOf(key: string, methods: readonly string[], life: { over: boolean }): Record<string, unknown> {
    const sink: Record<string, unknown> = {}
    for (const method of methods) {
      sink[method] = (...args: unknown[]) => this.#peer.tell('sink', { key, method, args: args.map(pack) })
    }
    sink.deliver = async (delivery: unknown): Promise<void> => {
      await this.#peer.call('sink', { key, method: 'deliver', args: [pack(delivery)] })
    }
    sink.ended = (reason: unknown): void => {
      life.over = true
      this.#subscriptions.delete(key)
      this.#peer.tell('sink', { key, method: 'ended', args: [pack(reason)] })
    }
    return sink
  }
}

/** The sinks of a worker, as the controller calls them. */
export class SinkTable {
  readonly #sinks = new Map<string, Callable>()

  get service(): Pick<MeshService<MeshOperations>, 'sink'> {
    return {
      sink: async ({ key, method, args }) => {
        const sink = this.#sinks.get(key)
        if (method === 'ended') this.#sinks.delete(key)
        await sink?.[method]?.(...args.map(unpack))
        return { value: undefined }
      },
    }
  }

  add(key: string, sink: object): void {
    this.#sinks.set(key, sink as Callable)
  }

  delete(key: string): void {
    this.#sinks.delete(key)
  }
}

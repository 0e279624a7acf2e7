/** The streams of subscriptions that are open, so that they end with their reader, on request, or with the transport. */
import type { ServerResponse } from 'node:http'
import {
  formatTopicRef,
  type LeasedSubscription,
  type Principal,
  parseTopicRef,
  RatatoskrError,
  type Session,
  type Subscription,
} from 'ratatoskr/ports'

interface OpenStream {
  readonly principal: Principal
  readonly subscription: Subscription | LeasedSubscription
  /** Tells the reader why the stream ends, and ends it. */
  readonly end: (reason: RatatoskrError) => void
}

export class Streams {
  readonly #open = new Map<string, OpenStream>()
  #stopping: RatatoskrError | undefined

  get size(): number {
    return this.#open.size
  }

  /** Takes care of a subscription until its response closes. */
  add(
    session: Session,
    subscription: Subscription | LeasedSubscription,
    response: ServerResponse,
    end: OpenStream['end'],
  ): void {
    // Subscribing takes time: the reader may have left, or the transport have stopped, meanwhile.
    if (this.#stopping !== undefined) end(this.#stopping)
    if (response.destroyed || this.#stopping !== undefined) {
      void subscription.close()
      return
    }
    this.#open.set(subscription.id, { principal: session.principal, subscription, end })
    response.once('close', () => {
      this.#open.delete(subscription.id)
      void subscription.close()
    })
  }

  /** Ends the subscription of this id when it is the caller's. @returns false when there is none */
  async close(session: Session, topic: string, id: string): Promise<boolean> {
    const subscription = this.#find(session, topic, id)
    await subscription?.close()
    return subscription !== undefined
  }

  /** The caller's own membership of a queue group. @throws RTK_SUBSCRIPTION_NOT_FOUND */
  member(session: Session, topic: string, id: string): LeasedSubscription {
    const subscription = this.#find(session, topic, id)
    if (subscription !== undefined && 'settle' in subscription) return subscription
    throw new RatatoskrError(
      'RTK_SUBSCRIPTION_NOT_FOUND',
      'no subscription of yours to a queue group has this id; it may have ended: consume again',
    )
  }

  #find({ principal }: Session, topic: string, id: string): OpenStream['subscription'] | undefined {
    const stream = this.#open.get(id)
    if (stream === undefined || !isSame(stream.principal, principal)) return undefined
    const named = formatTopicRef(parseTopicRef(topic, principal.namespace))
    return stream.subscription.topic === named ? stream.subscription : undefined
  }

  /** Ends all of them, and those to come, because the transport stops. */
  async closeAll(): Promise<void> {
    const reason = new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping; retry after a pause')
    this.#stopping = reason
    const streams = [...this.#open.values()]
    for (const { end } of streams) end(reason)
    await Promise.all(streams.map(({ subscription }) => subscription.close()))
  }
}

const isSame = (a: Principal, b: Principal): boolean => a.name === b.name && a.namespace === b.namespace

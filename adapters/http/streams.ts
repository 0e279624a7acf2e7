/** The streams of subscriptions that are open, so that they end with their reader, on request, or with the transport. */
import type { ServerResponse } from 'node:http'
import {
  formatTopicRef,
  type LeasedSubscription,
  type Principal,
  parseTopicRef,
  type QueueCredit,
  RatatoskrError,
  type Session,
  type Subscription,
} from 'ratatoskr/ports'

/** What can be done to a stream that stands. */
interface StreamHandle {
  /** Tells the reader why the stream ends, and ends it. */
  readonly end: (reason: RatatoskrError) => void
  /** Undefined when the connection's own flow control is the credit. */
  readonly grant?: ((credit: QueueCredit) => void) | undefined
  /** How many `lost` events the stream of a member of a queue group holds by now. */
  readonly losses?: () => number
}

interface OpenStream extends StreamHandle {
  readonly principal: Principal
  readonly subscription: Subscription | LeasedSubscription
}

/** A membership of a queue group, and what its stream holds. */
interface OpenMember extends Required<Pick<StreamHandle, 'losses'>> {
  readonly member: LeasedSubscription
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
    handle: StreamHandle,
  ): void {
    // Subscribing takes time: the reader may have left, or the transport have stopped, meanwhile.
    if (this.#stopping !== undefined) handle.end(this.#stopping)
    if (response.destroyed || this.#stopping !== undefined) {
      void subscription.close()
      return
    }
    this.#open.set(subscription.id, { ...handle, principal: session.principal, subscription })
    response.once('close', () => {
      this.#open.delete(subscription.id)
      void subscription.close()
    })
  }

  /** Ends the subscription of this id when it is the caller's. @returns false when there is none */
  async close(session: Session, topic: string, id: string): Promise<boolean> {
    const stream = this.#find(session, topic, id)
    await stream?.subscription.close()
    return stream !== undefined
  }

  /** The caller's own membership of a queue group. @throws RTK_SUBSCRIPTION_NOT_FOUND */
  member(session: Session, topic: string, id: string): OpenMember {
    const { subscription, losses } = this.#find(session, topic, id) ?? {}
    if (subscription !== undefined && losses !== undefined && 'settle' in subscription) {
      return { member: subscription, losses }
    }
    throw new RatatoskrError(
      'RTK_SUBSCRIPTION_NOT_FOUND',
      'no subscription of yours to a queue group has this id; it may have ended: consume again',
    )
  }

  /** Grants credit to a subscription of the caller's. @throws RTK_SUBSCRIPTION_NOT_FOUND, RTK_NOT_SUPPORTED, RTK_INVALID_ARGUMENT */
  grant(session: Session, topic: string, id: string, credit: QueueCredit): void {
    const stream = this.#find(session, topic, id)
    if (stream === undefined) {
      throw new RatatoskrError(
        'RTK_SUBSCRIPTION_NOT_FOUND',
        'no subscription of yours has this id; it may have ended: subscribe again',
      )
    }
    if (stream.grant === undefined) {
      throw new RatatoskrError(
        'RTK_NOT_SUPPORTED',
        'this subscription is sent as much as its connection takes: subscribe with creditBytes to grant credit',
      )
    }
    stream.grant(credit)
  }

  #find({ principal }: Session, topic: string, id: string): OpenStream | undefined {
    const stream = this.#open.get(id)
    if (stream === undefined || !isSame(stream.principal, principal)) return undefined
    const named = formatTopicRef(parseTopicRef(topic, principal.namespace))
    return stream.subscription.topic === named ? stream : undefined
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

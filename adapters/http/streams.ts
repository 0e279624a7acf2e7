/** The streams of subscriptions that are open, so that they end with their reader, on request, or with the transport. */
import type { ServerResponse } from 'node:http'
import { RatatoskrError, type Session, type Subscription } from 'ratatoskr/ports'

interface OpenStream {
  readonly principal: string
  readonly subscription: Subscription
  /** Tells the reader why the stream ends, and ends it. */
  readonly end: (reason: RatatoskrError) => void
}

export class Streams {
  readonly #open = new Map<string, OpenStream>()

  /** Takes care of a subscription until its response closes. */
  add(session: Session, subscription: Subscription, response: ServerResponse, end: OpenStream['end']): void {
    this.#open.set(subscription.id, { principal: session.principal.name, subscription, end })
    response.once('close', () => {
      this.#open.delete(subscription.id)
      void subscription.close()
    })
    if (response.destroyed) void subscription.close()
  }

  /** Ends the subscription of this id when it is the caller's. @returns false when there is none */
  async close(session: Session, topic: string, id: string): Promise<boolean> {
    const stream = this.#open.get(id)
    if (stream?.principal !== session.principal.name || stream.subscription.topic !== topic) return false
    await stream.subscription.close()
    return true
  }

  /** Ends all of them because the transport stops. */
  async closeAll(): Promise<void> {
    const reason = new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping; retry after a pause')
    const streams = [...this.#open.values()]
    for (const { end } of streams) end(reason)
    await Promise.all(streams.map(({ subscription }) => subscription.close()))
  }
}

/** The streams of subscriptions that are open, so that they end with their reader, on request, or with the transport. */
import type { ServerResponse } from 'node:http'
import type { Session, Subscription } from 'ratatoskr/ports'

interface OpenStream {
  readonly principal: string
  readonly subscription: Subscription
}

export class Streams {
  readonly #open = new Map<string, OpenStream>()

  /** Takes care of a subscription until its response closes. */
  add(session: Session, subscription: Subscription, response: ServerResponse): void {
    this.#open.set(subscription.id, { principal: session.principal.name, subscription })
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

  /** Ends all of them. */
  async closeAll(): Promise<void> {
    await Promise.all([...this.#open.values()].map(({ subscription }) => subscription.close()))
  }
}

/** What a subscription takes its messages from, with a group or without. */
import type { MaybePromise, RatatoskrError } from '../ports/index.ts'
import type { ClientMessage } from './client-message.ts'

/** Who takes a message: a handler that is called with it, an iterator that gives it, or somebody who pulls. */
export type TakenBy = 'handler' | 'iterator' | 'pulled'

export interface MessageSource {
  /** Called when there may be something to take, and at the end. */
  wake: () => void
  readonly topic: string
  /** Name within the group; empty without a group. */
  readonly member: string
  /** Messages that were not handed out because they had expired. */
  readonly expiredCount: number
  /** Settles with the reason when the subscription is over; with undefined when it was closed. */
  readonly closed: Promise<RatatoskrError | undefined>
  readonly over: boolean
  /** True once nothing is handed out any more. */
  readonly stopped: boolean
  readonly reason: RatatoskrError | undefined
  /** True when what has been handled is acknowledged without being told. */
  readonly settlesItself: boolean
  /** Subscribes. @throws as the session does */
  open(topic: string, signal: AbortSignal): Promise<void>
  /** The next message that may be handled now. */
  take(by: TakenBy): ClientMessage | undefined
  /** Work on a message that was taken begins. @returns false when it must not: it is not this consumer's any more */
  begin(message: ClientMessage): MaybePromise<boolean>
  /** A message that a handler or an iterator took has been handled, or has failed. */
  finished(message: ClientMessage, failure?: { readonly reason: unknown }): void
  /** Resolves when the broker has answered all that was settled before. */
  flush(): Promise<void>
  setMaxInFlight(value: number): void
  /** Hands out nothing more; what is handed out may still be settled. */
  stop(): void
  /** Ends with a reason: nothing more is handed out. */
  end(reason: RatatoskrError | undefined): void
  /** Hands out nothing more, lets what was settled reach the broker until `signal` fires, and leaves. */
  close(signal: AbortSignal): Promise<void>
}

/** A value now or a promise of it: only on hot calls, where awaiting a ready value would cost more than the work. */
export type MaybePromise<T> = T | Promise<T>

/** Something with a life. Both methods are idempotent; `start` resolves only when the component is usable. */
export interface Component {
  readonly name: string
  start(): Promise<void>
  stop(): Promise<void>
}

/** Cancels a call from outside: settles it with RTK_CANCELLED, and with RTK_TIMEOUT when the reason is a TimeoutError. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

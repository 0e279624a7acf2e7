/** Waiting no longer than a deadline for something that may never settle, on the Clock port. */
import { RatatoskrError } from '../domain/errors.ts'
import type { Clock } from '../ports/index.ts'

/** Settles as `promise` does; rejects with RTK_TIMEOUT when that takes longer than `timeoutMs`. */
export function within<T>(clock: Clock, timeoutMs: number, promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.after(timeoutMs, () =>
      reject(new RatatoskrError('RTK_TIMEOUT', `not done within ${timeoutMs} ms`)),
    )
    promise.then(resolve, reject).finally(() => timer[Symbol.dispose]())
  })
}

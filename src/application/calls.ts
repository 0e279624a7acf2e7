/** Cancelling calls from outside. What was begun goes on; only the caller stops waiting for it. */
import { RatatoskrError } from '../domain/errors.ts'

/** The error that an aborted signal stands for: RTK_TIMEOUT when its reason is a TimeoutError, RTK_CANCELLED otherwise. */
export function abortError(signal: AbortSignal): RatatoskrError {
  const reason = signal.reason
  const timedOut =
    typeof reason === 'object' && reason !== null && 'name' in reason && reason.name === 'TimeoutError'
  return timedOut
    ? new RatatoskrError('RTK_TIMEOUT', 'no answer within the deadline; a publish may or may not be stored')
    : new RatatoskrError('RTK_CANCELLED', 'the caller cancelled the call; a publish may or may not be stored')
}

/** @throws RTK_CANCELLED, RTK_TIMEOUT when `signal` was aborted before the call */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal)
}

/**
 * Settles as `promise` does, or rejects with RTK_CANCELLED or RTK_TIMEOUT as soon as `signal` is aborted. The signal was
 * asked before the call began: see `throwIfAborted`.
 */
export function cancellable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(abortError(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

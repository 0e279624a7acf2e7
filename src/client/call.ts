/** Deadlines and cancellation of the client's calls, the same for every call on every link. */
import {
  type Clock,
  type MaybePromise,
  quoteForMessage,
  RatatoskrError,
  toRatatoskrError,
} from '../ports/index.ts'

/** What every call of the client takes. */
export interface ClientCallOptions {
  /** Cancels the call: it rejects with RTK_CANCELLED, or with RTK_TIMEOUT when the reason is a TimeoutError. */
  readonly signal?: AbortSignal | undefined
  /** Deadline of the call in milliseconds; `Infinity` for none. The client's `timeoutMs` otherwise. */
  readonly timeoutMs?: number | undefined
}

// Timers of the platforms underneath hold 31 bits; a longer deadline is none.
const timerMsMax = 2 ** 31 - 1

/**
 * Checks a deadline given by the caller.
 * @throws RTK_INVALID_ARGUMENT
 */
export function checkTimeoutMs(timeoutMs: number | undefined, otherwise: number): number {
  if (timeoutMs === undefined) return otherwise
  if (typeof timeoutMs === 'number' && timeoutMs > 0) return timeoutMs
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `timeoutMs must be milliseconds above 0, or Infinity for no deadline; got ${quoteForMessage(timeoutMs)}`,
  )
}

/** The error of a call that `signal` ended. */
export function abortError(signal: AbortSignal, what: string): RatatoskrError {
  const { reason } = signal
  if (reason instanceof Error && reason.name === 'TimeoutError') {
    return new RatatoskrError('RTK_TIMEOUT', reason.message, { cause: reason })
  }
  return new RatatoskrError('RTK_CANCELLED', `${what} was cancelled by its signal`, { cause: reason })
}

/** A reason that links and the broker take for a deadline, not for a cancellation. */
const timeoutReason = (what: string, timeoutMs: number): DOMException =>
  new DOMException(`${what} had no answer within ${timeoutMs} ms (timeoutMs)`, 'TimeoutError')

/**
 * Runs a call with a deadline. `run` gets a signal that fires when the caller no longer waits; whatever it does then,
 * the call settles at once. Every rejection is a RatatoskrError.
 */
export async function withDeadline<T>(
  clock: Clock,
  what: string,
  options: ClientCallOptions | undefined,
  timeoutMsDefault: number,
  run: (signal: AbortSignal) => MaybePromise<T>,
): Promise<T> {
  const timeoutMs = checkTimeoutMs(options?.timeoutMs, timeoutMsDefault)
  const outer = options?.signal
  if (outer?.aborted) throw abortError(outer, what)
  const controller = new AbortController()
  const { signal } = controller
  const cancel = (): void => controller.abort(outer?.reason)
  outer?.addEventListener('abort', cancel, { once: true })
  const timer =
    timeoutMs > timerMsMax
      ? undefined
      : clock.after(timeoutMs, () => controller.abort(timeoutReason(what, timeoutMs)))
  try {
    return await unlessAborted(run(signal), signal, what)
  } catch (error) {
    throw toRatatoskrError(error)
  } finally {
    timer?.[Symbol.dispose]()
    outer?.removeEventListener('abort', cancel)
  }
}

/** Settles as `work` does, or rejects as soon as `signal` fires. The signal's listener is gone afterwards. */
export function unlessAborted<T>(
  work: MaybePromise<T>,
  signal: AbortSignal | undefined,
  what: string,
): MaybePromise<T> {
  if (!(work instanceof Promise) || signal === undefined) return work
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(abortError(signal, what))
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/** Resolves after `delayMs`; rejects when `signal` fires first. */
export function delay(clock: Clock, delayMs: number, signal: AbortSignal, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(abortError(signal, what))
      return
    }
    const abort = (): void => {
      timer[Symbol.dispose]()
      reject(abortError(signal, what))
    }
    const timer = clock.after(delayMs, () => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
    signal.addEventListener('abort', abort, { once: true })
  })
}

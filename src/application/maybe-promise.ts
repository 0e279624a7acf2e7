/** Working with values that may be promises: see `MaybePromise` in the ports. */

/** True for anything that can be awaited; stores may bring promises of their own kind. */
export function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}

const ignore = (): void => {}

/** Says that somebody else reports this promise's failure, so that it is not an unhandled rejection here. */
export function handledElsewhere(promise: PromiseLike<unknown>): void {
  promise.then(ignore, ignore)
}

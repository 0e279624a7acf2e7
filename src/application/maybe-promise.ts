/** Working with values that may be promises: see `MaybePromise` in the ports. */

/** True for anything that can be awaited; stores may bring promises of their own kind. */
export function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  )
}

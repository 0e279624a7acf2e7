/** Checks of options that callers give. */
import { quoteForMessage, RatatoskrError } from '../ports/index.ts'

/**
 * The number, when it is a whole one of at least `least`.
 * @throws RTK_INVALID_ARGUMENT
 */
export function wholeNumber(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${name} must be a whole number of at least ${least}, got ${quoteForMessage(value)}`,
  )
}

/**
 * The value, when it is one of those listed.
 * @throws RTK_INVALID_ARGUMENT
 */
export function oneOf<T extends string>(name: string, value: T, allowed: readonly T[]): T {
  if (allowed.includes(value)) return value
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${name} must be one of ${allowed.join(', ')}, got ${quoteForMessage(value)}`,
  )
}

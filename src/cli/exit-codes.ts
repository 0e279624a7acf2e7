/** Exit codes of the command, and which error gives which. */
// Not all of the ports: what this imports is loaded before the cache of compiled modules is on.
import { type ErrorKind, isRatatoskrError } from '../domain/errors.ts'

export const exitCodes = {
  ok: 0,
  failure: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  unreachable: 5,
  conflict: 6,
  timeout: 7,
  config: 78,
} as const

const codeOfKind: Readonly<Record<ErrorKind, number>> = {
  invalid: exitCodes.usage,
  unauthenticated: exitCodes.denied,
  denied: exitCodes.denied,
  'not-found': exitCodes.notFound,
  conflict: exitCodes.conflict,
  'out-of-range': exitCodes.usage,
  'too-large': exitCodes.usage,
  limit: exitCodes.failure,
  unsupported: exitCodes.failure,
  unavailable: exitCodes.unreachable,
  timeout: exitCodes.timeout,
  cancelled: exitCodes.failure,
  corrupt: exitCodes.failure,
  config: exitCodes.config,
  internal: exitCodes.failure,
}

/** The exit code that an error gives. */
export function exitCodeOf(error: unknown): number {
  if (!isRatatoskrError(error)) return exitCodes.failure
  // The store's failures share a kind with a broker that cannot be reached, and differ for a script.
  return error.code === 'RTK_STORE_FAILED' ? exitCodes.failure : codeOfKind[error.kind]
}

/** Errors as HTTP says them: RFC 9457 problem details with the RTK code, mapped from the code's kind in one place. */
import { type ErrorCode, type ErrorKind, errorCodes, RatatoskrError, toRatatoskrError } from 'ratatoskr/ports'

const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unauthenticated: 401,
  denied: 403,
  'not-found': 404,
  conflict: 409,
  'out-of-range': 416,
  'too-large': 413,
  limit: 429,
  unsupported: 501,
  unavailable: 503,
  timeout: 504,
  cancelled: 499,
  corrupt: 500,
  config: 500,
  internal: 500,
}

/** The HTTP status of an error. */
export const statusOf = (error: RatatoskrError): number => statusOfKind[error.kind]

/** A problem document. `type` is stable for a code. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly details?: Readonly<Record<string, unknown>>
}

/** The problem document of an error; nothing of its cause or stack. */
export function problemOf(error: RatatoskrError): Problem {
  return {
    type: `urn:ratatoskr:error:${error.code}`,
    title: errorCodes[error.code].summary,
    status: statusOf(error),
    detail: error.message,
    code: error.code,
    retryable: error.retryable,
    ...(Object.keys(error.details).length > 0 && { details: error.details }),
  }
}

interface FrameworkError {
  readonly statusCode?: number
  readonly code?: string
  readonly validation?: readonly {
    readonly instancePath: string
    readonly message?: string
    readonly params?: Record<string, unknown>
  }[]
  readonly validationContext?: string
}

/** Anything thrown while answering, as one of our errors: what the framework refuses has a code of ours, too. */
export function errorOfThrown(thrown: unknown): RatatoskrError {
  const error = thrown as FrameworkError
  if (error?.validation !== undefined) return validationError(error)
  if (error?.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new RatatoskrError(
      'RTK_BATCH_TOO_LARGE',
      'the request body is above the limit; send smaller batches',
    )
  }
  if (typeof error?.code === 'string' && error.code.startsWith('FST_') && (error.statusCode ?? 500) < 500) {
    return new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      'the request could not be read as HTTP; check its headers and body',
      { cause: thrown },
    )
  }
  return toRatatoskrError(thrown)
}

function validationError(error: FrameworkError): RatatoskrError {
  const first = error.validation?.[0]
  const place = `${error.validationContext ?? 'request'}${first?.instancePath.replaceAll('/', '.') ?? ''}`
  const extra = first?.params?.additionalProperty
  const reason =
    extra === undefined ? (first?.message ?? 'is not valid') : `has an unknown field ${JSON.stringify(extra)}`
  return new RatatoskrError('RTK_INVALID_ARGUMENT', `${place} ${reason}`)
}

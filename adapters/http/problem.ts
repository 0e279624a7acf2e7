/** Errors as HTTP says them: RFC 9457 problem details with the RTK code, mapped from the code's kind in one place. */
import type { Duplex } from 'node:stream'
import type { FastifyReply } from 'fastify'
import {
  type ErrorCode,
  type ErrorKind,
  errorCodes,
  quoteForMessage,
  RatatoskrError,
  toRatatoskrError,
} from 'ratatoskr/ports'

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
  /** Of a request that did several things: what became of each. */
  readonly results?: readonly unknown[]
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

/** Answers with a problem document, and with the headers that belong to its status. */
export function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer')
  if (problem.retryable && (problem.status === 429 || problem.status === 503)) {
    const { retryAfterMs } = problem.details ?? {}
    reply.header('retry-after', typeof retryAfterMs === 'number' ? Math.ceil(retryAfterMs / 1_000) : 1)
  }
  return reply.code(problem.status).type(problemContentType).send(JSON.stringify(problem))
}

/** Answers on the bare socket what the HTTP parser refused before there was a request. */
export function refuseOnSocket(socket: Duplex, code: string | undefined): void {
  if (code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const { status, reason, error } = parserRefusals[code ?? ''] ?? unreadable
  const body = JSON.stringify({ ...problemOf(error), status })
  const head = `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-type: ${problemContentType}\r\n`
  socket.end(`${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}

const problemContentType = 'application/problem+json'

const unreadable = {
  status: 400,
  reason: 'Bad Request',
  error: new RatatoskrError(
    'RTK_FRAME_MALFORMED',
    'this is not HTTP/1.1, or can be read in two ways; check the request line, headers and framing',
  ),
}

const parserRefusals: Readonly<Record<string, typeof unreadable>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    reason: 'Request Header Fields Too Large',
    error: new RatatoskrError(
      'RTK_HEADER_INVALID',
      'the HTTP headers are above the limit; send fewer or shorter ones',
    ),
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    reason: 'Request Timeout',
    error: new RatatoskrError(
      'RTK_TIMEOUT',
      'the request did not arrive in time; send it faster or in smaller parts',
    ),
  },
}

interface ValidationIssue {
  readonly instancePath: string
  readonly message?: string
  readonly params?: Record<string, unknown>
}
interface FrameworkError {
  readonly statusCode?: number
  readonly code?: string
  readonly validation?: readonly ValidationIssue[]
  readonly validationContext?: string
}

/** Anything thrown while answering, as one of our errors: what the framework refuses has a code of ours, too. */
export function errorOfThrown(thrown: unknown): RatatoskrError {
  const error = thrown as FrameworkError | undefined
  if (error?.validation !== undefined) return validationError(error.validation, error.validationContext)
  if (error?.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new RatatoskrError(
      'RTK_BATCH_TOO_LARGE',
      'the request body is above the limit; send smaller batches',
    )
  }
  if (error?.code === 'ECONNRESET')
    return new RatatoskrError('RTK_CANCELLED', 'the client left before it had sent its request', {
      cause: thrown,
    })
  if (typeof error?.code === 'string' && error.code.startsWith('FST_') && (error.statusCode ?? 500) < 500) {
    return new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      'the request could not be read as HTTP; check its path, headers and body',
      { cause: thrown },
    )
  }
  return toRatatoskrError(thrown)
}

function validationError(issues: readonly ValidationIssue[], context = 'request'): RatatoskrError {
  // Of alternatives, the one that fits best fails deepest.
  const depth = ({ instancePath }: ValidationIssue): number => instancePath.split('/').length
  const issue = issues.reduce((best, next) => (depth(next) > depth(best) ? next : best))
  const place = `${context}${issue.instancePath.replaceAll('/', '.')}`
  const { additionalProperty, allowedValues } = issue.params ?? {}
  if (additionalProperty !== undefined)
    return invalid(`${place} has an unknown field ${quoteForMessage(additionalProperty)}`)
  const allowed = Array.isArray(allowedValues) ? `: ${allowedValues.join(', ')}` : ''
  return invalid(`${place} ${issue.message ?? 'is not valid'}${allowed}`)
}

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)

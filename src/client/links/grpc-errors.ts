/** Errors as they come over gRPC: those of the broker are restored from the trailers, those of gRPC itself are mapped. */
import type { IncomingHttpHeaders } from 'node:http2'
import * as proto from '../../../proto/index.ts'
import { type ErrorCode, type ErrorDetails, isErrorCode, RatatoskrError } from '../../ports/index.ts'

const { status } = proto

/** How a call ended. */
export interface CallStatus {
  readonly code: number
  readonly details: string
  /** A `ratatoskr.v1.Error`, when it is the broker who ended it. */
  readonly error?: Uint8Array | undefined
}

/** The status that trailers, or the headers of a call that failed at once, tell of. */
export function statusOfHeaders(headers: IncomingHttpHeaders): CallStatus | undefined {
  const code = headers['grpc-status']
  if (code === undefined) return undefined
  const error = headers['ratatoskr-error-bin']
  return {
    code: Number(code),
    details: unescaped(String(headers['grpc-message'] ?? '')),
    error: typeof error === 'string' ? Buffer.from(error, 'base64') : undefined,
  }
}

/** The status that a proxy means which does not speak gRPC. */
export const statusOfHttp = (httpStatus: number): CallStatus => ({
  code: codeOfHttp[httpStatus] ?? status.UNKNOWN,
  details: `the answer was HTTP status ${httpStatus}`,
})

const codeOfHttp: Readonly<Record<number, proto.status | undefined>> = {
  400: status.INTERNAL,
  401: status.UNAUTHENTICATED,
  403: status.PERMISSION_DENIED,
  404: status.UNIMPLEMENTED,
  429: status.UNAVAILABLE,
  502: status.UNAVAILABLE,
  503: status.UNAVAILABLE,
  504: status.UNAVAILABLE,
}

/** Characters that a header cannot hold come by their bytes; who wrote it otherwise is shown as he wrote. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** For what carries no code of ours: gRPC's own statuses, proxies, and codes of a later version. */
const codeOfStatus: Readonly<Record<number, ErrorCode | undefined>> = {
  [status.CANCELLED]: 'RTK_DISCONNECTED',
  [status.INVALID_ARGUMENT]: 'RTK_INVALID_ARGUMENT',
  [status.DEADLINE_EXCEEDED]: 'RTK_TIMEOUT',
  [status.PERMISSION_DENIED]: 'RTK_PERMISSION_DENIED',
  [status.RESOURCE_EXHAUSTED]: 'RTK_BATCH_TOO_LARGE',
  [status.UNIMPLEMENTED]: 'RTK_NOT_SUPPORTED',
  [status.UNAVAILABLE]: 'RTK_DISCONNECTED',
  [status.UNAUTHENTICATED]: 'RTK_UNAUTHENTICATED',
}

export function restoreError(ended: CallStatus): RatatoskrError {
  if (ended.error !== undefined) {
    try {
      return errorFromProto(proto.Error.decode(ended.error))
    } catch {
      // Whoever wrote that trailer was no broker: the status stands for itself.
    }
  }
  const code = codeOfStatus[ended.code]
  const name = proto.statusName(ended.code)
  return new RatatoskrError(code ?? 'RTK_INTERNAL', `gRPC ended the call with ${name}: ${ended.details}`)
}

export function errorFromProto(error: proto.Error): RatatoskrError {
  const details: ErrorDetails = Object.fromEntries(
    error.details.map(({ name, text, number, flag }) => [name, text ?? number ?? flag ?? null]),
  )
  if (isErrorCode(error.code)) return new RatatoskrError(error.code, error.message, { details })
  const fallback = error.retryable ? 'RTK_UNAVAILABLE' : 'RTK_INTERNAL'
  return new RatatoskrError(fallback, `${error.code}: ${error.message}`, { details })
}

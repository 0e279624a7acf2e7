/** Errors as they come over gRPC: those of the broker are restored from the trailers, those of gRPC itself are mapped. */
import { type Metadata, status } from '@grpc/grpc-js'
import * as proto from '../../../proto/index.ts'
import { type ErrorCode, type ErrorDetails, isErrorCode, RatatoskrError } from '../../ports/index.ts'

/** How a call ended. */
export interface CallStatus {
  readonly code: number
  readonly details: string
  readonly metadata?: Metadata | undefined
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

/** What grpc-js calls a connection that broke in the middle of a call. */
const lostStream = /RST_STREAM|ECONNRESET|EPIPE/

export function restoreError(ended: CallStatus): RatatoskrError {
  const wire = ended.metadata?.get('ratatoskr-error-bin')[0]
  if (wire instanceof Uint8Array) {
    try {
      return errorFromProto(proto.Error.decode(wire))
    } catch {
      // Whoever wrote that trailer was no broker: the status stands for itself.
    }
  }
  const wasLost = ended.code === status.INTERNAL && lostStream.test(ended.details)
  const code = wasLost ? 'RTK_DISCONNECTED' : codeOfStatus[ended.code]
  const name = status[ended.code] ?? String(ended.code)
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

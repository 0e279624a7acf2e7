/**
 * Errors on the wire. A kind of error maps to one gRPC status; what the status cannot say travels in trailers:
 * `ratatoskr-code` for people and `ratatoskr-error-bin`, a `ratatoskr.v1.Error`, for clients that restore it.
 */
import { Metadata, status } from '@grpc/grpc-js'
import type { ErrorKind } from 'ratatoskr/ports'
import { RatatoskrError, toRatatoskrError } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'

const statusOfKind: Readonly<Record<ErrorKind, status>> = {
  invalid: status.INVALID_ARGUMENT,
  unauthenticated: status.UNAUTHENTICATED,
  denied: status.PERMISSION_DENIED,
  'not-found': status.NOT_FOUND,
  conflict: status.FAILED_PRECONDITION,
  'out-of-range': status.OUT_OF_RANGE,
  // The status that grpc-js itself gives a message above the limit.
  'too-large': status.RESOURCE_EXHAUSTED,
  limit: status.RESOURCE_EXHAUSTED,
  unsupported: status.UNIMPLEMENTED,
  unavailable: status.UNAVAILABLE,
  timeout: status.DEADLINE_EXCEEDED,
  cancelled: status.CANCELLED,
  corrupt: status.DATA_LOSS,
  config: status.FAILED_PRECONDITION,
  internal: status.INTERNAL,
}

/** Trailers share one header block of HTTP/2, which proxies bound to 8 KiB. */
const messageCharactersMax = 1_024

/** What a failed call ends with. */
export interface FailedStatus {
  readonly code: status
  readonly details: string
  readonly metadata: Metadata
}

export function statusOf(thrown: unknown): FailedStatus {
  const error = toRatatoskrError(thrown)
  const wire = errorToProto(error)
  const metadata = new Metadata()
  metadata.set('ratatoskr-code', error.code)
  metadata.set('ratatoskr-error-bin', Buffer.from(proto.Error.encode(wire).finish()))
  return { code: statusOfKind[error.kind], details: wire.message, metadata }
}

export function errorToProto(error: RatatoskrError): proto.Error {
  const details = Object.entries(error.details).map(([name, value]): proto.ErrorDetail => {
    if (typeof value === 'string') return { name, text: value }
    if (typeof value === 'number') return { name, number: value }
    return typeof value === 'boolean' ? { name, flag: value } : { name }
  })
  // grpc-js percent-encodes the text, and a lone surrogate cannot be.
  const message = error.message.slice(0, messageCharactersMax).toWellFormed()
  return { code: error.code, message, retryable: error.retryable, details }
}

/** What stands in for a request whose bytes could not be read: grpc-js would answer INTERNAL to a throwing decoder. */
export const malformed: unique symbol = Symbol('malformed request')

export type Incoming<Request> = Request | typeof malformed

/** @throws RTK_FRAME_MALFORMED */
export function readable<Request>(request: Incoming<Request>): Request {
  if (request !== malformed) return request
  throw new RatatoskrError(
    'RTK_FRAME_MALFORMED',
    'the request is not a message of the type that this method takes; check the client against the .proto files',
  )
}

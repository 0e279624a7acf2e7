/**
 * Errors on the wire. A kind of error maps to one gRPC status; what the status cannot say travels in trailers:
 * `ratatoskr-code` for people and `ratatoskr-error-bin`, a `ratatoskr.v1.Error`, for clients that restore it.
 */
import type { OutgoingHttpHeaders } from 'node:http2'
import type { ErrorKind } from 'ratatoskr/ports'
import { RatatoskrError, toRatatoskrError } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import type { CallEnd } from './call-headers.ts'

const { status } = proto

const statusOfKind: Readonly<Record<ErrorKind, proto.status>> = {
  invalid: status.INVALID_ARGUMENT,
  unauthenticated: status.UNAUTHENTICATED,
  denied: status.PERMISSION_DENIED,
  'not-found': status.NOT_FOUND,
  conflict: status.FAILED_PRECONDITION,
  'out-of-range': status.OUT_OF_RANGE,
  // The status that gRPC itself gives a message above the limit.
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
export type FailedStatus = Required<CallEnd>

export function statusOf(thrown: unknown): FailedStatus {
  const error = toRatatoskrError(thrown)
  const wire = errorToProto(error)
  const trailers: OutgoingHttpHeaders = { 'ratatoskr-code': error.code }
  const { retryAfterMs } = error.details
  // What clients that retry by gRPC's own policy go by.
  if (typeof retryAfterMs === 'number') trailers['grpc-retry-pushback-ms'] = `${retryAfterMs}`
  trailers['ratatoskr-error-bin'] = Buffer.from(proto.Error.encode(wire).finish()).toString('base64')
  return { code: statusOfKind[error.kind], details: wire.message, trailers }
}

export function errorToProto(error: RatatoskrError): proto.Error {
  const details = Object.entries(error.details).map(([name, value]): proto.ErrorDetail => {
    if (typeof value === 'string') return { name, text: value }
    if (typeof value === 'number') return { name, number: value }
    return typeof value === 'boolean' ? { name, flag: value } : { name }
  })
  // The text is percent-encoded, and a lone surrogate cannot be.
  const message = error.message.slice(0, messageCharactersMax).toWellFormed()
  return { code: error.code, message, retryable: error.retryable, details }
}

/** What stands in for a request whose bytes could not be read: the session of its call is asked for first. */
export class Malformed {
  readonly error: RatatoskrError

  /** @param path of the method that it came for */
  constructor(path: string, bytes: Uint8Array) {
    const wrong = proto.wrongNumberInBytes(path, bytes)
    this.error =
      wrong === undefined
        ? new RatatoskrError(
            'RTK_FRAME_MALFORMED',
            'the request is not a message of the type that this method takes; check the client against the .proto files',
          )
        : new RatatoskrError(
            'RTK_INVALID_ARGUMENT',
            `${wrong.field} must be a whole number from ${wrong.least} to ${wrong.greatest}, got ${wrong.value}`,
            { details: { field: wrong.field } },
          )
  }
}

export type Incoming<Request> = Request | Malformed

/** @throws RTK_FRAME_MALFORMED; RTK_INVALID_ARGUMENT for a number that cannot be told exactly */
export function readable<Request>(request: Incoming<Request>): Request {
  if (request instanceof Malformed) throw request.error
  return request
}

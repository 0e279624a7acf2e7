/** What gRPC says in the headers of a call: the type of its content, its deadline and its compression. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import { status } from 'ratatoskr/proto'

/** How a call ends. */
export interface CallEnd {
  readonly code: status
  readonly details: string
  /** Trailers beside those of gRPC itself. */
  readonly trailers?: OutgoingHttpHeaders | undefined
}

export const trailersOf = ({ code, details, trailers }: CallEnd): OutgoingHttpHeaders => ({
  'grpc-status': code,
  'grpc-message': encodeURI(details),
  ...trailers,
})

/** Of every call that went well. */
export const okTrailers: OutgoingHttpHeaders = Object.freeze({ 'grpc-status': 0, 'grpc-message': 'OK' })

/** How the messages of requests may be compressed. */
export type Encoding = 'identity' | 'gzip' | 'deflate'
const encodings: readonly string[] = ['identity', 'gzip', 'deflate'] satisfies readonly Encoding[]

/** What an answer begins with. */
export const answerHeaders: OutgoingHttpHeaders = Object.freeze({
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-accept-encoding': encodings.join(','),
})

const contentType = /^application\/grpc(?:\+proto)?(?:;|$)/

export const isGrpc = (headers: IncomingHttpHeaders): boolean =>
  contentType.test(headers['content-type'] ?? '')

/** What is asked of a call beside its method. */
export interface CallTerms {
  /** From now on; `undefined` for none. */
  readonly timeoutMs: number | undefined
  readonly encoding: Encoding
}

const plain: CallTerms = { timeoutMs: undefined, encoding: 'identity' }

const unitsMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
}
/** What a timer can wait for; a later deadline is none. */
const timeoutMsMax = 2 ** 31 - 1

/** @returns the terms of a call, or why it cannot be served */
export function termsOf(headers: IncomingHttpHeaders): CallTerms | CallEnd {
  const timeout = headers['grpc-timeout']
  const encoding = headers['grpc-encoding']
  if (timeout === undefined && encoding === undefined) return plain
  const parts = timeout === undefined ? undefined : /^(\d{1,8})([HMSmun])$/.exec(String(timeout))
  if (parts === null) {
    return {
      code: status.INTERNAL,
      details: 'grpc-timeout must be at most 8 digits and one of H, M, S, m, u and n',
    }
  }
  const name = String(encoding ?? 'identity')
  if (!encodings.includes(name)) {
    return {
      code: status.UNIMPLEMENTED,
      details: `requests may be compressed by ${encodings.slice(1).join(' and ')}: see grpc-accept-encoding`,
    }
  }
  const ms = parts === undefined ? Number.POSITIVE_INFINITY : Number(parts[1]) * unitsMs[parts[2]]
  return { timeoutMs: ms > timeoutMsMax ? undefined : ms, encoding: name as Encoding }
}

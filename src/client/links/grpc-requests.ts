/**
 * Requests as bytes. One that cannot be written is refused before it is sent, with the name of the field.
 */
import * as proto from '../../../proto/index.ts'
import { RatatoskrError } from '../../ports/index.ts'

/** The half of a method that writes requests. */
export type Writing<Request> = Pick<proto.Method<Request, unknown>, 'path' | 'requestSerialize'>

/** @throws RTK_INVALID_ARGUMENT that names the first number which its field cannot hold */
export function requestBytes<Request>(
  { path, requestSerialize }: Writing<Request>,
  request: Request,
): Buffer {
  // Codecs write numbers above 2^53 - 1, which are not exact any more and which no broker reads.
  if (hasInexact(request)) refuse(path, request as object)
  try {
    return requestSerialize(request)
  } catch (error) {
    refuse(path, request as object)
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'the request has a field of another type than its own', {
      cause: error,
    })
  }
}

/** @throws RTK_INVALID_ARGUMENT when a number is wrong */
function refuse(path: string, request: object): void {
  const wrong = proto.wrongNumberIn(path, request)
  if (wrong === undefined) return
  const { field, least, greatest, value } = wrong
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${field} must be a whole number from ${least} to ${greatest}, got ${value}`,
    { details: { field } },
  )
}

function hasInexact(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isSafeInteger(value)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false
  for (const key in value) {
    if (hasInexact((value as Readonly<Record<string, unknown>>)[key])) return true
  }
  return false
}

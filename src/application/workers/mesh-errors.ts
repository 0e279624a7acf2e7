/** Errors as they cross from one worker to another, and those of the crossing itself. */
import { type ErrorCode, type ErrorDetails, RatatoskrError, toRatatoskrError } from '../../domain/errors.ts'
import { abortError } from '../calls.ts'

/** An error as a structured clone can carry it. */
export interface MeshError {
  readonly code: ErrorCode
  readonly message: string
  readonly details: ErrorDetails
}

export function errorToMesh(error: unknown): MeshError {
  const { code, message, details } = toRatatoskrError(error)
  return { code, message, details }
}

export const errorOf = ({ code, message, details }: MeshError): RatatoskrError =>
  new RatatoskrError(code, message, { details })

/** Aborts of the other end have a reason of the same kind. */
export const reasonOf = (signal: AbortSignal): { readonly name: string } => ({
  name: abortError(signal).code === 'RTK_TIMEOUT' ? 'TimeoutError' : 'AbortError',
})

export const linkClosed = (): RatatoskrError =>
  new RatatoskrError(
    'RTK_UNAVAILABLE',
    'the worker that this is the business of has ended and is being started again; what was asked for may be done or not, retry after a pause',
  )

/** Reading past what is lost to damage: the store says where a log can be read again. */
import { isRatatoskrError } from '../domain/errors.ts'

/**
 * Where reading goes on when a read at `offset` failed because the record there is lost; undefined for any other failure,
 * and for a log that is damaged as a whole.
 */
export function nextReadable(error: unknown, offset: number): number | undefined {
  if (!isRatatoskrError(error, 'RTK_STORE_CORRUPT')) return undefined
  const { nextOffset } = error.details
  return typeof nextOffset === 'number' && nextOffset > offset ? nextOffset : undefined
}

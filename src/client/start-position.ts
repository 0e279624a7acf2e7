/** Start positions as they are given to the client: looked at before a link turns them into what it sends. */
import { RatatoskrError, type StartPosition } from '../ports/index.ts'

/**
 * Refuses what is no start position; what it names is for the broker to check.
 * @throws RTK_INVALID_ARGUMENT
 */
export function checkPosition(position: StartPosition): void {
  const given: unknown = position
  if (given === 'earliest' || given === 'latest') return
  if (typeof given === 'object' && given !== null) {
    if ('offset' in given || 'timestampMs' in given) return
    if ('offsets' in given && Array.isArray(given.offsets) && given.offsets.every(isNamedOffset)) return
  }
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    'a start position is earliest, latest, { offset }, { timestampMs }, or { offsets } with a partition and an offset each',
  )
}

const isNamedOffset = (one: unknown): boolean =>
  typeof one === 'object' && one !== null && 'partition' in one && 'offset' in one

/** Start positions as they stand in a query or a Last-Event-ID header: `latest`, `17`, `@1767225600000`, `0:41,1:17`. */
import { type PartitionOffset, RatatoskrError, type StartPosition } from 'ratatoskr/ports'

/**
 * Reads a start position.
 * @param otherwise where partitions begin that a list of positions does not name
 * @throws RTK_INVALID_ARGUMENT
 */
export function positionFromText(text: string, otherwise?: 'earliest' | 'latest'): StartPosition {
  if (text === 'earliest' || text === 'latest') return text
  if (text.startsWith('@')) return { timestampMs: wholeNumber(text.slice(1), 'from') }
  if (!text.includes(':')) return { offset: wholeNumber(text, 'from') }
  return { offsets: partitionOffsets(text, 'from'), ...(otherwise !== undefined && { otherwise }) }
}

/**
 * The position after the event of this id; see event-stream.ts. Partitions that it does not name had no messages yet.
 * @throws RTK_INVALID_ARGUMENT
 */
export const positionAfterEvent = (id: string): StartPosition => ({
  offsets: partitionOffsets(id, 'Last-Event-ID').map(({ partition, offset }) => ({
    partition,
    offset: offset + 1,
  })),
  otherwise: 'earliest',
})

/** An offset, `earliest` or `latest`. @throws RTK_INVALID_ARGUMENT */
export const offsetFromText = (text: string): number | 'earliest' | 'latest' =>
  text === 'earliest' || text === 'latest'
    ? text
    : wholeNumber(text, 'offset', 'earliest, latest or a whole number')

/** Partition numbers such as `0,2`. @throws RTK_INVALID_ARGUMENT */
export const partitionsFromText = (text: string): number[] =>
  text.split(',').map((number) => wholeNumber(number, 'partitions'))

function partitionOffsets(list: string, field: string): PartitionOffset[] {
  return list.split(',').map((pair) => {
    const [partition, offset, rest] = pair.split(':')
    if (offset === undefined || rest !== undefined)
      throw fieldError(field, 'partition:offset pairs such as 0:41,1:17', pair)
    return { partition: wholeNumber(partition, field), offset: wholeNumber(offset, field) }
  })
}

/** @throws RTK_INVALID_ARGUMENT */
export function wholeNumber(digits: string, field: string, expected = 'whole numbers'): number {
  if (/^\d{1,16}$/.test(digits) && Number.isSafeInteger(Number(digits))) return Number(digits)
  throw fieldError(field, expected, digits)
}

const fieldError = (field: string, expected: string, got: string): RatatoskrError =>
  new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${field}: expected ${expected}, got ${JSON.stringify(got.slice(0, 40))}`,
  )

/** What the failures of a publish say about the batch: whether it may pass, and whether it may be stored all the same. */
import type { ErrorCode, RatatoskrError } from '../ports/index.ts'

/** Refusals that say for sure that nothing was stored and that may pass. */
const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'RTK_OVERLOADED',
  'RTK_UNAVAILABLE',
  'RTK_STORE_FULL',
  'RTK_STORE_FAILED',
])

const indeterminate: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'RTK_DISCONNECTED',
  'RTK_TIMEOUT',
  'RTK_CANCELLED',
  'RTK_INTERNAL',
])

/** Of those the ones after which a batch with a number goes again. */
const answerLost: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['RTK_DISCONNECTED', 'RTK_TIMEOUT'])

/** What the broker says of a number that is not the next. */
const outOfOrder: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'RTK_SEQUENCE_OUT_OF_ORDER',
  'RTK_PRODUCER_FENCED',
])

/** True when nothing was stored, and the same batch may be taken later. */
export const isPassing = (error: RatatoskrError): boolean => passing.has(error.code)

/** True when nobody knows whether the batch is stored. */
export const isIndeterminate = (error: RatatoskrError): boolean => indeterminate.has(error.code)

/** True when the batch may be stored, and one with a number may go again. */
export const isAnswerLost = (error: RatatoskrError): boolean => answerLost.has(error.code)

/** True when the broker did not expect the number of the batch. */
export const isOutOfOrder = (error: RatatoskrError): boolean => outOfOrder.has(error.code)

/** What the writer on the failing device and its parent have to tell each other. */
import type { LogId } from 'ratatoskr/ports'

export const logIds: readonly LogId[] = [0, 1].map((partition) => ({
  topicId: '0d0d0d0d-1111-4111-8111-dddddddddddd',
  partition,
}))

export const logOptions = { segmentBytes: 4 * 1024 * 1024 }

/** A batch that was acknowledged. */
export interface Acked {
  readonly is: 'acked'
  /** Its place among `logIds`. */
  readonly log: number
  readonly offset: number
  readonly level: 'os' | 'fsync'
  /** Of the whole batch. */
  readonly crc: number
}

export type DeviceEvent = Acked | { readonly is: 'failed'; readonly log: number; readonly code: string }

/** Where a partition is, for brokers that are several event loops. */
import type { PartitionDescription } from '../../domain/topic.ts'
import type { OffsetCells } from '../workers/offset-cells.ts'
import type { PartitionOwner } from './partition-context.ts'

export interface PartitionPlace {
  /** Number of the worker that owns it. */
  readonly worker: number
  /** Where other workers see how it stands. */
  readonly cells: OffsetCells
}

/** Looks for ids, and keeps whatever is not a partition. */
const controller = 0

/** Whom a client should turn to: of a topic that remembers ids the one who looks for them, whoever owns the partition. */
export const workerOf = (
  { dedup }: Pick<PartitionOwner, 'dedup'>,
  owning: number | undefined,
): Pick<PartitionDescription, 'worker'> =>
  owning === undefined ? {} : { worker: dedup === undefined ? owning : controller }

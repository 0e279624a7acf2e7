/** What the owner of partitions does for the other workers: their appends and reads, in the order they come. */
import { durabilityLevels } from '../../domain/durability.ts'
import { isRatatoskrError, RatatoskrError } from '../../domain/errors.ts'
import type { MaybePromise } from '../../ports/index.ts'
import { isPromise } from '../maybe-promise.ts'
import type { Partition } from '../partitions/partition.ts'
import type { StoredBatch } from '../partitions/topic-partition.ts'
import { enteredElsewhere } from '../publish/traffic.ts'
import type { MeshAnswer, MeshService, ServeAppend } from './mesh-link.ts'
import type { MeshOperations, PartitionAddress, PartitionOperations } from './mesh-operations.ts'
import type { Peer } from './peer.ts'
import type { RemotePartition } from './remote-partition.ts'

/** Where partitions are found. */
export interface PartitionFinder {
  /** A partition that is here. */
  local(address: PartitionAddress): Partition | undefined
  /** One that is elsewhere. */
  remote(address: PartitionAddress): RemotePartition | undefined
}

const given = <T>(value: T): MeshAnswer<T> => ({ value })

/** @param peer whom this is done for */
export function partitionService(
  finder: PartitionFinder,
  peer: Peer,
): {
  readonly service: Pick<MeshService<MeshOperations>, keyof PartitionOperations>
  readonly serveAppend: ServeAppend
} {
  const handles = new Map<number, PartitionAddress>()
  const local = (address: PartitionAddress | undefined): Partition => {
    const partition = address && finder.local(address)
    if (partition === undefined) throw notHere()
    return partition
  }
  const tellChanged = ({ topicId, partition }: PartitionAddress, { damaged }: Partition): void =>
    peer.tell('changed', { topicId, partition, damaged })
  const serveAppend: ServeAppend = (handle, recordCount, durability, batch) => {
    const level = durabilityLevels[durability]
    const appended = local(handles.get(handle)).append(batch, recordCount, level, enteredElsewhere)
    return isPromise(appended) ? appended.then(placeOf) : placeOf(appended as number | StoredBatch)
  }
  const service: Pick<MeshService<MeshOperations>, keyof PartitionOperations> = {
    nameHandle: ({ handle, ...address }) => {
      handles.set(handle, address)
      return given(undefined)
    },
    append: (takes, bytes) => {
      const { recordCount, durability, originalAt, onlyKnown } = takes
      const mayStore = onlyKnown ? refuse : undefined
      const partition = local(takes)
      const appended =
        originalAt === undefined
          ? partition.append(bytes, recordCount, durability, enteredElsewhere, mayStore)
          : partition.appendRest(
              bytes.subarray(0, originalAt),
              recordCount,
              bytes.subarray(originalAt),
              durability,
              enteredElsewhere,
              mayStore,
            )
      const answer = (at: number | StoredBatch) => given(placeOf(at))
      return isPromise(appended) ? appended.then(answer) : answer(appended as number | StoredBatch)
    },
    passOver: (takes, bytes) => {
      local(takes).passOver(bytes, takes.baseOffset, takes.durability)
      return given(undefined)
    },
    read: (takes) => {
      const partition = local(takes)
      const answer = (bytes: Uint8Array) => ({ value: undefined, bytes })
      const failed = (error: unknown): never => {
        // Who reads past what is lost asks the partition what that is.
        if (isRatatoskrError(error, 'RTK_STORE_CORRUPT')) tellChanged(takes, partition)
        throw error
      }
      try {
        const read = partition.read(takes.offset, takes.bytesMax) as MaybePromise<Uint8Array>
        return isPromise(read) ? read.then(answer, failed) : answer(read as Uint8Array)
      } catch (error) {
        return failed(error)
      }
    },
    offsetForTime: async (takes) => given(await local(takes).offsetForTime(takes.timestampMs)),
    batchOffsetForTime: async (takes) => given(await local(takes).batchOffsetForTime(takes.timestampMs)),
    truncateBefore: async (takes) => given(await local(takes).truncateBefore(takes.offset)),
    watch: (takes) => {
      const partition = finder.local(takes)
      if (partition === undefined) return given(undefined)
      const seen = partition.stableOffset === takes.stableOffset && partition.state === takes.state
      if (seen) partition.onceChanged(() => tellChanged(takes, partition))
      else tellChanged(takes, partition)
      return given(undefined)
    },
    changed: (takes) => {
      finder.remote(takes)?.changed(takes.damaged)
      return given(undefined)
    },
  }
  return { service, serveAppend }
}

/** A batch that is known, as plain data. */
const placeOf = (at: number | StoredBatch): number | StoredBatch =>
  typeof at === 'number' ? at : { baseOffset: at.baseOffset, durability: at.durability }

const refuse = (): never => {
  throw new RatatoskrError('RTK_LEASE_LOST', 'the batch is not stored, and must not be')
}

const notHere = (): RatatoskrError =>
  new RatatoskrError(
    'RTK_UNAVAILABLE',
    'the partition is not open at its worker yet, or not any more; retry after a pause',
  )

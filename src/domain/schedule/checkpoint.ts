/**
 * What the scheduler stores beside its log: the floor, and from which offset of which partition on messages may stand that
 * it delivered and has not noted as done. It is small, for only partitions delivered to since the last checkpoint are in it.
 */
import { utf8, utf8Text } from '../batch/bytes.ts'
import { RatatoskrError } from '../errors.ts'
import { isUuid } from '../message-id.ts'

/** From `fromOffset` on, a partition may hold messages that are not noted as done. */
export interface Doubt {
  readonly topicId: string
  readonly partition: number
  readonly fromOffset: number
}

export interface ScheduleCheckpoint {
  readonly floor: number
  readonly doubts: readonly Doubt[]
}

const layoutVersion = 1

export const encodeCheckpoint = ({ floor, doubts }: ScheduleCheckpoint): Uint8Array =>
  utf8(
    JSON.stringify({
      version: layoutVersion,
      floor,
      doubts: doubts.map(({ topicId, partition, fromOffset }) => [topicId, partition, fromOffset]),
    }),
  )

/** @throws RTK_STORE_CORRUPT: without it the broker would deliver again what was delivered long ago */
export function decodeCheckpoint(value: Uint8Array): ScheduleCheckpoint {
  try {
    const { version, floor, doubts } = JSON.parse(utf8Text(value))
    if (version !== layoutVersion || !isOffset(floor) || !Array.isArray(doubts))
      throw new TypeError('a field is wrong')
    return { floor, doubts: doubts.map(readDoubt) }
  } catch (error) {
    throw new RatatoskrError(
      'RTK_STORE_CORRUPT',
      'the stored position of the scheduler cannot be read; restore the state from a backup',
      { cause: error },
    )
  }
}

function readDoubt(stored: unknown): Doubt {
  const [topicId, partition, fromOffset] = stored as [unknown, unknown, unknown]
  if (!isUuid(topicId) || !isOffset(partition) || !isOffset(fromOffset))
    throw new TypeError('a field is wrong')
  return { topicId, partition, fromOffset }
}

const isOffset = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

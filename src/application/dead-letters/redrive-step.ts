/**
 * One step of a redrive: some letters are published again and noted as done. A step that was interrupted, by a crash or a
 * partition that failed, is looked into before the next one: each letter is published once.
 */
import { BatchBuilder } from '../../domain/batch/builder.ts'
import type { Expansion } from '../../domain/batch/expand.ts'
import { markAddressed } from '../../domain/batch/group-address.ts'
import { redrivenFrom, redrivenHeaders } from '../../domain/dead-letters/dead-letter-headers.ts'
import { isAtLeast } from '../../domain/durability.ts'
import { RatatoskrError } from '../../domain/errors.ts'
import { parseUuid } from '../../domain/message-id.ts'
import { partitionForKey } from '../../domain/partitioner.ts'
import type { Platform } from '../../ports/index.ts'
import { batchOverheadBytes } from '../partitions/accumulator.ts'
import type { TopicPartition } from '../partitions/topic-partition.ts'
import type { DurabilityOffer } from '../topics/durability-offer.ts'
import type { Topic } from '../topics/topic.ts'
import type { DoneLetters, IntendedPublish } from './done-letters.ts'
import type { Letter } from './letter-reader.ts'
import { LetterScan } from './letter-scan.ts'

export interface RedriveParts {
  readonly platform: Platform
  readonly expansion: Expansion
  readonly offer: DurabilityOffer
  /** The topic of an id; undefined when it was deleted. */
  topicOf(topicId: string): Topic | undefined
  /** True when a topic has a queue group of that name. */
  hasQueue(topic: Topic, group: string): boolean
}

/** Where letters go. */
export interface Destination {
  topicFor(letter: Letter): Topic
  /** To all groups of the topic. Otherwise only the group gets it that had given it up, when it is still there. */
  readonly everyGroup: boolean
}

/** Bytes of one batch, about. */
const batchBytesTarget = 1024 * 1024

/** What goes to one partition. */
interface Parcel {
  readonly topic: Topic
  readonly partition: TopicPartition
  readonly letters: Letter[]
}

/** The name of a letter in the header of what is published again. */
const letterName = (deadLetterTopic: Topic, offset: number): string => `${deadLetterTopic.id}:${offset}`

/**
 * Finds out what an interrupted step has published, and notes it.
 * @throws RTK_UNAVAILABLE while a partition that it published to is recovering, and what a read throws
 */
export async function resolveIntent(
  deadLetterTopic: Topic,
  done: DoneLetters,
  parts: RedriveParts,
): Promise<void> {
  if (done.intent.length === 0) return
  const published: number[] = []
  for (const { topicId, partition: index, from, letters } of done.intent) {
    const topic = parts.topicOf(topicId)
    const partition = topic?.partitions[index]
    if (topic === undefined || partition === undefined) continue // it is gone, with all that was published to it
    if (partition.state !== 'online') throw recovering(topic, index)
    const offsets = new Map(letters.map((offset) => [letterName(deadLetterTopic, offset), offset]))
    const scan = new LetterScan(topic, partition, parts.expansion)
    for (let at = from; at < partition.stableOffset; ) {
      at = await scan.some(at, (message) => {
        const offset = offsets.get(redrivenFrom(message) ?? '')
        if (offset !== undefined) published.push(offset)
        return true
      })
    }
  }
  await done.finish(published, [])
}

/**
 * Publishes letters again.
 * @throws what keeps some of them from being stored; the others are done all the same
 */
export async function publishAgain(
  deadLetterTopic: Topic,
  letters: readonly Letter[],
  destination: Destination,
  done: DoneLetters,
  parts: RedriveParts,
): Promise<void> {
  const parcels = parcelsOf(letters, destination)
  const intent = parcels.map(({ topic, partition, letters: enclosed }): IntendedPublish => {
    if (partition.state !== 'online') throw recovering(topic, partition.index)
    const offsets = enclosed.map(({ message }) => message.offset)
    return { topicId: topic.id, partition: partition.index, from: partition.endOffset, letters: offsets }
  })
  await done.intend(intent)
  const results = await Promise.allSettled(
    parcels.map((parcel) => publishParcel(deadLetterTopic, parcel, destination, parts)),
  )
  const published = intent.filter((_, place) => results[place].status === 'fulfilled')
  const unclear = intent.filter((_, place) => results[place].status === 'rejected')
  await done.finish(
    published.flatMap(({ letters: offsets }) => offsets),
    unclear,
  )
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

function parcelsOf(letters: readonly Letter[], { topicFor }: Destination): readonly Parcel[] {
  const parcels = new Map<TopicPartition, Parcel>()
  for (const letter of letters) {
    const topic = topicFor(letter)
    const partition = partitionFor(topic, letter)
    const parcel = parcels.get(partition)
    if (parcel === undefined) parcels.set(partition, { topic, partition, letters: [letter] })
    else parcel.letters.push(letter)
  }
  return [...parcels.values()]
}

/** Where its key belongs; without a key where it was, if that is in the same topic. */
function partitionFor(topic: Topic, { facts, message }: Letter): TopicPartition {
  if (message.key !== undefined) return topic.partition(partitionForKey(message.key, topic.partitions.length))
  const before = facts.topic === topic.text ? topic.partitions[facts.partition] : undefined
  return before ?? topic.stickyPartition()
}

/** Its time to live is over, or was not the reason; it gets the present time, so that the topic keeps it as long as a new one. */
async function publishParcel(
  deadLetterTopic: Topic,
  { topic, partition, letters }: Parcel,
  { everyGroup }: Destination,
  { platform, offer, hasQueue }: RedriveParts,
): Promise<void> {
  const builder = new BatchBuilder({ checksum: platform.checksum })
  const least = topic.config.durability
  const kept = deadLetterTopic.config.durability
  const durability = offer.levelFor(isAtLeast(least, kept) ? least : kept)
  const send = (): Promise<unknown> | unknown => {
    const batch = builder.build()
    if (addressed) markAddressed(batch, platform.checksum)
    return partition.append(batch, count, durability, platform.clock.monotonic())
  }
  let count = 0
  let addressed = false
  for (const { message, headers, redrives, facts } of letters) {
    const { payload, key, id, offset } = message
    const isAddressed = !everyGroup && facts.topic === topic.text && hasQueue(topic, facts.group)
    const isLarge = builder.sizeBytes + payload.length + batchOverheadBytes > batchBytesTarget
    if (count > 0 && (isLarge || isAddressed !== addressed)) {
      await send()
      count = 0
    }
    addressed = isAddressed
    builder.add({
      payload,
      key,
      headers: redrivenHeaders(headers, {
        redrives: redrives + 1,
        group: facts.group,
        letter: letterName(deadLetterTopic, offset),
      }),
      id: parseUuid(id),
      timestampMs: platform.clock.now(),
    })
    count++
  }
  await send()
}

const recovering = (topic: Topic, partition: number): RatatoskrError =>
  new RatatoskrError(
    'RTK_UNAVAILABLE',
    `partition ${partition} of ${topic.text} is being recovered; retry after a pause`,
  )

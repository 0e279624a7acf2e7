/** Which worker a partition belongs to. What is on disk was placed by these rules, so they are as fixed as a format. */
import type { TopicRef } from '../../domain/names.ts'
import { isHiddenTopic } from '../../domain/schedule/scheduling.ts'

/**
 * The worker that owns a partition, of `workers`. A topic's partitions are spread evenly, beginning with any worker, so that
 * topics of one partition are spread too.
 */
export const ownerOf = (topicId: string, partition: number, workers: number): number =>
  (Number.parseInt(topicId.slice(0, 8), 16) + partition) % workers

/** The same for any topic: those that no client sees are the controller's. */
export const ownerAmong = (ref: TopicRef, topicId: string, partition: number, workers: number): number =>
  isHiddenTopic(ref) ? 0 : ownerOf(topicId, partition, workers)

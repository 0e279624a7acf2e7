/** Checks the logs of a data directory against what its state says of topics and groups. Only reads. */
import type { FileSystem, OffsetRange } from 'ratatoskr/ports'
import { type DirectoryPart, isElsewhere, nameOf } from './directory-part.ts'
import type { Finding } from './finding.ts'
import type { LogReport } from './inspect-log.ts'
import type { InspectedState } from './inspect-state.ts'

/** Logs of which nothing is left: a topic is only on record when the directories of its logs are on the disk. */
export async function* lostLogFindings(
  fileSystem: FileSystem,
  part: DirectoryPart,
  state: InspectedState | undefined,
  found: ReadonlySet<string>,
): AsyncGenerator<Finding> {
  for (const [topicId, { key, partitions }] of state?.topics ?? []) {
    for (let partition = 0; partition < partitions; partition++) {
      const file = `logs/${topicId}/${partition}`
      if (found.has(file) || part.placeOf(key, topicId, partition) !== part.index) continue
      // Where it is, it is told of as displaced.
      if (await isElsewhere(fileSystem, part, topicId, partition)) continue
      const problem = 'the directory of this log is missing, though its topic is there: what it held is lost'
      const advice =
        'put it back, from where it was moved to or from a backup, before a broker is started: it begins the log anew'
      yield { severity: 'error', file, state: 'missing', problem, advice }
    }
  }
}

/** A log in a directory that is not its own: nobody reads it there. */
export function* displacedFindings(
  { folder, segments }: LogReport,
  part: DirectoryPart,
  state: InspectedState | undefined,
  file: string,
): Generator<Finding> {
  const [topicId, partition] = folder.split('/').slice(-2)
  const topic = state?.topics.get(topicId)
  if (topic === undefined) return
  const place = part.placeOf(topic.key, topicId, Number(partition))
  const endOffset = segments.at(-1)?.endOffset ?? 0
  if (place === part.index) return
  yield {
    severity: endOffset > 0 ? 'error' : 'info',
    ...{ file, state: 'displaced', nextOffset: endOffset },
    problem: `this log belongs in ${nameOf(part, place)}: the broker does not read it here`,
    advice:
      endOffset > 0
        ? 'move it there, into the folder of its topic in logs, before a broker is started: it begins the log anew'
        : 'nothing: it never held a record',
  }
}

/** Logs that no topic of the state names. */
export function* orphanFindings(
  { folder, segments }: LogReport,
  state: InspectedState | undefined,
  file: string,
): Generator<Finding> {
  const topicId = folder.split('/').at(-2) ?? ''
  if (state === undefined || state.topicIds.has(topicId)) return
  const records = segments.reduce((sum, segment) => sum + segment.records, 0)
  yield {
    severity: records > 0 ? 'warning' : 'info',
    ...{ file, state: 'orphan', records, problem: 'no topic of the state has this log' },
    advice:
      records > 0
        ? 'if its topic was lost with the state, restore state/ from a backup, or read its records with `ratatoskr log dump`; the broker leaves the log alone'
        : 'nothing: it is empty, and the broker removes it',
  }
}

/**
 * Logs that end before what a group has come to. After a crash, nothing else tells of records that were acknowledged before
 * they were synced, or of last files that somebody has taken away with their indexes.
 * @param missing what is told of as missing already
 */
export function* reachedFindings(
  { folder, segments }: LogReport,
  missing: readonly OffsetRange[],
  state: InspectedState | undefined,
  file: string,
): Generator<Finding> {
  const reached = state?.reached.get(folder.split('/').slice(-2).join('/'))
  const last = segments.at(-1)
  if (reached === undefined || last?.unreadable !== undefined) return
  const endOffset = Math.max(last?.endOffset ?? 0, ...missing.map(({ to }) => to))
  const { group, offset } = reached
  if (offset <= endOffset) return
  yield {
    severity: 'warning',
    ...{ file, state: 'behind', offset: endOffset, nextOffset: offset },
    problem: `the log ends at offset ${endOffset}, and group ${JSON.stringify(group)} had come to ${offset}: the records between are lost`,
    advice:
      'nothing, where the power failed and the topic does not sync before it acknowledges (durability os or interval): the broker takes the group back to the end; otherwise check the disk, and restore the log from a backup',
  }
}
